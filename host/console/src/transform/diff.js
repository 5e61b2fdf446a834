// The difference of two texts, line by line.

/** Lines of the changed middle beyond which the difference takes too long. */
const LINES_MAX = 1500;

/** Lines as `{kind, text}`: "same", "gone", "new". Null if the texts differ in too many lines. */
export function diff(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const left = a.slice(head, a.length - tail);
  const right = b.slice(head, b.length - tail);
  if (left.length > LINES_MAX || right.length > LINES_MAX) return null;
  const same = (text) => ({ kind: "same", text });
  return [...a.slice(0, head).map(same), ...middle(left, right), ...a.slice(a.length - tail).map(same)];
}

/** The longest common lines, by the table of all pairs. */
function middle(left, right) {
  const width = right.length + 1;
  const table = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      table[at] = left[i] === right[j] ? table[at + width + 1] + 1 : Math.max(table[at + width], table[at + 1]);
    }
  }
  const lines = [];
  let i = 0;
  let j = 0;
  while (i < left.length || j < right.length) {
    const at = i * width + j;
    if (i < left.length && j < right.length && left[i] === right[j]) {
      lines.push({ kind: "same", text: left[i] });
      i += 1;
      j += 1;
    } else if (j >= right.length || (i < left.length && table[at + width] >= table[at + 1])) {
      lines.push({ kind: "gone", text: left[i] });
      i += 1;
    } else {
      lines.push({ kind: "new", text: right[j] });
      j += 1;
    }
  }
  return lines;
}
