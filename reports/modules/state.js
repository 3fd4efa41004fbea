// Everything a reader can choose stands in the address, so that it can be sent, bookmarked and undone.

/** Reads an address fragment: `#view=graph&layer=conv1`. Values are plain strings. */
export function readHash(hash) {
  const state = {};
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at <= 0) continue;
    try {
      state[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1).replace(/\+/g, " "));
    } catch {
      // A damaged escape: as if it were not there.
    }
  }
  return state;
}

/** Writes an address fragment; empty values are left out, and the order is fixed. */
export function writeHash(state) {
  const parts = Object.keys(state)
    .filter((name) => state[name] !== "" && state[name] !== null && state[name] !== undefined)
    .sort()
    .map((name) => `${name}=${encodeURIComponent(String(state[name]).toWellFormed())}`);
  return parts.length ? `#${parts.join("&")}` : "#view=overview";
}

/** Holds the state, tells listeners of changes, follows the back button. */
export function createStore(initial) {
  let state = initial;
  const listeners = [];
  const tell = (previous) => listeners.forEach((listener) => listener(state, previous));
  const follow = () => {
    const previous = state;
    state = withView(readHash(location.hash));
    tell(previous);
  };
  addEventListener("hashchange", follow);
  return {
    get: () => state,
    listen: (listener) => listeners.push(listener),
    start: () => tell({}),
    /** Changes members; a step that the back button undoes unless `replace` is given. */
    set: (changes, { replace = false } = {}) => {
      const previous = state;
      state = { ...state, ...changes };
      const hash = writeHash(state);
      if (hash === location.hash) return;
      history[replace ? "replaceState" : "pushState"](null, "", hash);
      tell(previous);
    },
  };
}

/** An address that names a layer and no view means that layer's page. */
export function withView(state) {
  if (state.view) return state;
  return { ...state, view: state.layer !== undefined ? "layer" : "overview" };
}
