// Numbers, times and foreign text, as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number as a double, which is near enough to show and to compare it. One of `exact` in api.js may be an object with all of its digits. */
export function plain(value) {
  return value?.rawJSON === undefined ? value : Number(value.rawJSON);
}

/** A number with all of the digits that it came with. */
export function digits(value) {
  return value?.rawJSON ?? String(value);
}

/** A whole number with separators; `-` for an unknown one. */
export function count(value) {
  return value === null || value === undefined ? "-" : whole.format(plain(value));
}

/** A large number in few characters. */
export function compact(value) {
  if (value === null || value === undefined) return "-";
  const number = plain(value);
  return number < 10_000 ? whole.format(number) : short.format(number);
}

/** "1 host", "3 hosts". */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A rate that is given a minute: "1,200/s", and where that is less than one, "6/min". */
export function rate(perMinute) {
  if (perMinute === null || perMinute === undefined) return "-";
  return perMinute >= 60 || perMinute === 0 ? `${compact(Math.round(perMinute / 60))}/s` : `${perMinute}/min`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let rest = plain(value);
  let unit = 0;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

export function millis(value) {
  if (value === null || value === undefined) return "-";
  const ms = plain(value);
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

export function nanos(value) {
  if (value === null || value === undefined) return "-";
  const ns = plain(value);
  if (ns < 1000) return `${Math.round(ns)} ns`;
  return ns < 1_000_000 ? `${(ns / 1000).toFixed(1)} µs` : millis(ns / 1_000_000);
}

/** CPU time in thousandths of a CPU: "0.35 CPU". A small use keeps three places, so that it does not look like none. */
export function cpu(millicores) {
  if (millicores === null || millicores === undefined) return "-";
  const cpus = plain(millicores) / 1000;
  if (cpus === 0) return "0 CPU";
  const places = cpus < 0.1 ? 3 : cpus < 10 ? 2 : 1;
  return `${cpus.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places })} CPU`;
}

/** The size that a spec writes as "64MiB", in bytes; null if it is none. */
export function parseBytes(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(B|KB|KiB|MB|MiB|GB|GiB)?\s*$/i.exec(digits(text ?? ""));
  if (!found) return null;
  const units = { b: 1, kb: 1e3, kib: 1024, mb: 1e6, mib: 1024 ** 2, gb: 1e9, gib: 1024 ** 3 };
  return Number(found[1]) * units[(found[2] ?? "B").toLowerCase()];
}

/** The time since a moment: "3 min ago". */
export function ago(at, now) {
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** A moment in the reader's zone, to the second. One that no calendar has, such as a timestamp in ns, is shown by its digits. */
export function moment(at) {
  const ms = plain(at);
  const date = new Date(ms);
  if (!Number.isNaN(date.getTime())) return date.toLocaleString("sv", { timeZoneName: "short" });
  return Number.isFinite(ms) ? digits(at) : "-";
}

export function clock(at) {
  return new Date(at).toLocaleTimeString("sv");
}

// Control characters, those that turn the direction of text around, and those that hide in it. A test of the host compares them
// with its own list, which is in model/text.rs.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Foreign text with its control characters shown. Line breaks and tabs stay. */
export function visible(text) {
  return String(text).replace(ODD, (odd) => `\\u{${odd.codePointAt(0).toString(16)}}`);
}

/** Characters of foreign text that are shown, where nothing else is said. */
const SHOWN_CHARS_MAX = 20_000;

/** Foreign text up to a length, with a note of what is left out. */
export function cut(text, max = SHOWN_CHARS_MAX) {
  return `${visible(text.slice(0, max))}${leftOut(text, max)}`;
}

function leftOut(text, max) {
  return text.length > max ? `\n... ${count(text.length - max)} more characters` : "";
}

/** The lines of foreign text up to a length, each as it is (`whole`) and as it is shown; and the note of what is left out. */
export function cutLines(text, max = SHOWN_CHARS_MAX) {
  const lines = [];
  let start = 0;
  for (const whole of text.split("\n")) {
    if (start >= max) break;
    lines.push({ whole, shown: visible(whole.slice(0, max - start)) });
    start += whole.length + 1;
  }
  return { lines, rest: leftOut(text, max) };
}

/** A key or value of a record as text: JSON indented, bytes as base64, null as such. */
export function content(record, field) {
  if (record[`${field}_base64`] !== undefined) return `base64 ${record[`${field}_base64`]}`;
  const value = record[field];
  if (value === null || value === undefined) return "null";
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  // Only whole objects and lists: a number must not lose its digits.
  if (/^\s*[[{]/.test(value) && value.length < 200_000) {
    try {
      return reindent(value);
    } catch {
      return value;
    }
  }
  return value;
}

/** Indents JSON without reading its numbers: 10.10 stays 10.10. */
export function reindent(json) {
  JSON.parse(json);
  let depth = 0;
  let result = "";
  let at = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  while (at < json.length) {
    const char = json[at];
    if (char === '"') {
      const end = stringEnd(json, at);
      result += json.slice(at, end);
      at = end;
      continue;
    }
    at += 1;
    if (/\s/.test(char)) continue;
    if (char === "{" || char === "[") {
      const closing = /^\s*[}\]]/.exec(json.slice(at, at + 64));
      if (closing) {
        result += char + closing[0].trim();
        at += closing[0].length;
      } else {
        depth += 1;
        result += char + line();
      }
    } else if (char === "}" || char === "]") {
      depth -= 1;
      result += line() + char;
    } else if (char === ",") {
      result += char + line();
    } else {
      result += char === ":" ? ": " : char;
    }
  }
  return result;
}

/** The place after a quoted string that begins at `start`; the end of the text if the string has none. */
export function stringEnd(text, start) {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === "\\" && quote === '"') at += 1;
    else if (text[at] === quote) return at + 1;
  }
  return text.length;
}

/** A word of a shell, quoted where it must be. A word that begins with `-` is an option nevertheless: it stands behind `--` or `=`. */
export function quoted(word) {
  return /^[\w./:@=+-]+$/.test(word) ? word : `'${String(word).replaceAll("'", `'\\''`)}'`;
}

/** The names that a host takes. */
const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/**
 * A team, or a transform as `team/name`, in a command. It may come from the address, which anybody may have written: a name
 * such as `--url=https://..` would be an option, and send the caller's token there. The placeholder stands for all that is no name.
 */
export function named(id, placeholder = "TEAM/NAME") {
  const words = id.split("/");
  return words.length === placeholder.split("/").length && words.every((word) => LABEL.test(word)) ? id : placeholder;
}
