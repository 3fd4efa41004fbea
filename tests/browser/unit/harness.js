// The smallest way to test our modules inside Chromium: names to functions that throw.

export const results = [];

export function test(name, body) {
  try {
    body();
    results.push([name, null]);
  } catch (error) {
    results.push([name, String(error?.message ?? error)]);
  }
}

export function equal(actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`expected ${b}, found ${a}`);
}
