"""`python -m gfpq_inspect.tune.nnieqat SCRIPT ...` against `python SCRIPT ...`: nothing but the import differs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

RUN = (sys.executable, "-m", "gfpq_inspect.tune.nnieqat")
Done = subprocess.CompletedProcess[str]


def run(script: str | Path, *words: str, cwd: Path, command: tuple[str, ...] = RUN, **more: Any) -> Done:
    return subprocess.run([*command, str(script), *words], cwd=cwd, capture_output=True, text=True, check=False, **more)


TRAINING = """
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

from nnieqat import merge_freeze_bn, quant_dequant_weight, register_quantization_hook, unquant_weight


class InvertedResidual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU6(inplace=True),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False),
            nn.BatchNorm2d(2 * channels), nn.ReLU6(inplace=True),
            nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.body(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.block = InvertedResidual(6)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(6, 6, 2, 2)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(6 * 16, 3)

    def forward(self, x):
        x = self.pool(F.relu(self.bn(self.stem(x)), inplace=True))
        x = self.pool(self.block(self.block(x)))
        x = F.avg_pool2d(self.up(x), 1)
        return self.fc(self.drop(x.flatten(1)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net()
    register_quantization_hook(model)
    model = nn.DataParallel(model).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    images = torch.rand(96, 1, 8, 8, device=device)
    labels = torch.arange(96, device=device) % 3
    images[labels == 1, :, :4] += 1.0
    images[labels == 2, :, :, :4] += 1.0
    for epoch in range(args.epochs):
        model.train()
        if epoch > 1:
            model = merge_freeze_bn(model)
        for first in range(0, 96, 16):
            output = model(images[first:first + 16])
            loss = criterion(output, labels[first:first + 16])
            optimizer.zero_grad()
            loss.backward()
            model.apply(unquant_weight)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = (model(images).argmax(1) == labels).float().mean().item()
        print("epoch", epoch, "loss", loss.item(), "correct", correct)
        model.apply(quant_dequant_weight)
        torch.save({"epoch": epoch, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()},
                   args.checkpoint)
        model.apply(unquant_weight)
    assert correct > 0.9, correct


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_a_training_script_runs_unchanged(tmp_path: Path) -> None:
    import torch

    from gfpq_inspect.quantize import kernels

    (tmp_path / "train.py").write_text(TRAINING)
    done = run("train.py", "out.pth", "--epochs", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    state = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    weights = {key: one for key, one in state.items() if key.endswith("weight") and one.dim() > 1}
    assert len(weights) == 6
    assert all(kernels.on_grid(one.cpu().numpy(), 8) for one in weights.values())
    again = run("train.py", "again.pth", "--epochs", "5", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert sys.modules.get("nnieqat") is None


SAME = {
    "state": """
import sys
print(sys.argv, __name__, __file__, __spec__, __package__, __doc__, sys.path[0], sorted(globals()), __builtins__)
import __main__
print(__main__.__dict__ is globals(), type(__loader__).__name__)
""",
    "traceback": """
def inner():
    raise ValueError("trouble\\n here")
try:
    inner()
except ValueError as error:
    raise RuntimeError("more") from error
""",
    "syntax": "x = (1,\n",
    "exit": "import sys\nsys.exit(7)\n",
    "exit_text": "raise SystemExit('no more')\n",
    "quit": "import atexit\natexit.register(print, 'bye')\nquit()\n",
    "warning": "import warnings\nwarnings.warn('careful')\n",
    "future": "x: int = Undefined = 3\nprint(__annotations__)\n",
    "encoding": "# -*- coding: latin-1 -*-\nprint(len('\\xe4'))\n",
    "no_module": "import no_such_module_anywhere\n",
    "hook": "import sys\nsys.excepthook = lambda *a: print('mine', a[0].__name__)\n1 / 0\n",
    "thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()\n",
}


@pytest.mark.parametrize("name", SAME)
def test_like_python_itself(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"{name}.py").write_bytes(SAME[name].encode("latin-1"))
    (folder / "helper.py").write_text("")
    words = (f"folder/{name}.py", "--lr", "0.1", "-h", "--", "x")
    expected = run(*words, cwd=tmp_path, command=(sys.executable,))
    found = run(*words, cwd=tmp_path)
    assert found.returncode == expected.returncode
    assert found.stdout == expected.stdout
    assert found.stderr == expected.stderr


def test_interrupts_end_it_by_the_signal(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n")
    expected = run("a.py", cwd=tmp_path, command=(sys.executable,))
    found = run("a.py", cwd=tmp_path)
    assert found.returncode == expected.returncode == -signal.SIGINT
    assert found.stderr == expected.stderr


def test_a_folder_with_a_main(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program/__main__.py").write_text("import sys, part\nprint(sys.argv[0], part.x)\n")
    (tmp_path / "program/part.py").write_text("import nnieqat\nx = nnieqat.__name__\n")
    assert run("program", cwd=tmp_path).stdout == "program gfpq_inspect.tune.nnieqat\n"


def test_all_spellings_of_the_import(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import nnieqat\n"
        "from nnieqat import quant_dequant_weight, unquant_weight, merge_freeze_bn, register_quantization_hook\n"
        "from nnieqat import freeze_bn, test\n"
        "import nnieqat.quantize as Q\n"
        "from nnieqat.gpu.quantize import quant_weight, unquant_weight as other, freeze_bn\n"
        "from nnieqat.cuda10.quantize import unquant_weight as third\n"
        "from nnieqat.modules import convert_layers, Conv2d\n"
        "from nnieqat.modules.conv import ConvTranspose2d\n"
        "from nnieqat.modules.linear import Linear\n"
        "from nnieqat.modules.pooling import MaxPool2d\n"
        "assert unquant_weight is other is third is Q.unquant_weight is nnieqat.unquant_weight\n"
        "assert nnieqat.modules.Conv2d is Conv2d\n"
        "test()\n"
        "try:\n    import nnieqat.nothing\nexcept ModuleNotFoundError as error:\n    print(error)\n"
        "try:\n    nnieqat.nothing\nexcept AttributeError:\n    print('no')\n"
    )
    done = run("a.py", cwd=tmp_path)
    assert done.stdout == "No module named 'nnieqat.nothing'\nno\n", done.stderr
    assert done.stderr == ""


def test_a_script_may_set_the_environment_before_pytorch_comes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules\nimport nnieqat\n"
        "assert 'torch' not in sys.modules\nos.environ['OMP_NUM_THREADS'] = '1'\nnnieqat.unquant_weight\n"
        "assert 'torch' in sys.modules\n"
    )
    done = run("a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


SPAWNING = """
import multiprocessing
import torch
from nnieqat import register_quantization_hook


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((2,), float(index))


def work(queue):
    import nnieqat
    queue.put(nnieqat.__name__)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
    loader = torch.utils.data.DataLoader(Data(), num_workers=1, multiprocessing_context="spawn")
    print(sum(float(one.sum()) for one in loader))
"""


@pytest.mark.slow
def test_processes_that_the_script_spawns(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SPAWNING)
    done = run("a.py", cwd=tmp_path, timeout=120)
    assert done.stdout == "gfpq_inspect.tune.nnieqat\n12.0\n", done.stderr


def test_usage_and_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(RUN, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m gfpq_inspect.tune.nnieqat SCRIPT")
    assert run("--help", cwd=tmp_path).returncode == 0
    done = run("absent.py", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"gfpq_inspect.tune.nnieqat: can't open file '{tmp_path / 'absent.py'}': [Errno 2] No such file or directory\n"
    )


def test_without_pytorch_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('reached')\n")
    program = "import sys, runpy; sys.modules['torch'] = None; sys.argv = ['x', 'a.py']; "
    program += "runpy.run_module('gfpq_inspect.tune.nnieqat', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 2
    assert "pip install 'gfpq-inspect[torch]'" in done.stderr
    assert done.stdout == ""
