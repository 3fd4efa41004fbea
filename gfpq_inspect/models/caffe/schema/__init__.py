"""What Caffe's messages hold: names, types, defaults, and typed access to a message that was read without a schema.

Tables are written in a notation of their own, one message a paragraph: its name on a line, then its fields, separated
by `;`, each `name number type`, with `*` after the type of a repeated field, `!` after a required one, `=value` for a
default, and `enum Name=VALUE:number ...` for enums. `Message+` adds fields to a message of an earlier table.
"""

from gfpq_inspect.models.caffe.schema.parameters import Parameters, Typed
from gfpq_inspect.models.caffe.schema.table import Field, MessageType, enum_values, message_type

__all__ = ["Field", "MessageType", "Parameters", "Typed", "enum_values", "message_type"]
