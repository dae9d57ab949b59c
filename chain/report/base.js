// Elements and words. The law of this part: what a stranger wrote becomes text, with what cannot be seen made visible.

const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|[\ud800-\udfff]/gu;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function clean(value) {
  return String(value)
    .replace(HIDDEN, (found) => `\\u{${found.codePointAt(0).toString(16)}}`)
    .replace(/(\p{M}{3})\p{M}+/gu, "$1"); // no script needs more marks on a letter, and they would cover other lines
}

function short(value, length) {
  const text = [...clean(value)];
  return text.length > length ? `${text.slice(0, length - 1).join("")}…` : text.join("");
}

function fill(made, given, kids) {
  for (const [name, value] of Object.entries(given || {})) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : clean(value));
  }
  for (const kid of kids.flat(Infinity)) {
    if (kid === null || kid === undefined || kid === false) continue;
    made.append(kid instanceof Node ? kid : document.createTextNode(clean(kid)));
  }
  return made;
}

const el = (tag, given, ...kids) => fill(document.createElement(tag), given, kids);
const draw = (tag, given, ...kids) => fill(document.createElementNS(SVG, tag), given, kids);

function when(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime())
    ? `${time} ms after 1970`
    : date.toISOString().slice(0, 19).replace("T", " ") + "Z";
}

function span(milliseconds) {
  let left = Math.round(Math.abs(milliseconds) / 1000);
  const parts = [];
  for (const [size, unit] of [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ]) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many || `${one}s`}`;

// The last part of a SPIFFE id is what people call an agent by; a thumbprint is cut.
function called(name) {
  const text = String(name);
  if (text.startsWith("spiffe://")) return text.split("/").slice(3).join("/") || text.slice(9);
  return /^[\w-]{43}$/.test(text) ? `${text.slice(0, 10)}…` : text;
}

const STATUSES = ["live", "suspended", "revoked", "expired"];
const SHAPES = {
  live: "M6 1.5a4.5 4.5 0 1 0 .01 0z",
  expired: "M6 1.5a4.5 4.5 0 1 0 .01 0zM6 3.5a2.5 2.5 0 1 1-.01 0z",
  suspended: "M2.5 1.5h2.6v9H2.5zM6.9 1.5h2.6v9H6.9z",
  revoked: "M2.9 1.3 6 4.4l3.1-3.1 1.6 1.6L7.6 6l3.1 3.1-1.6 1.6L6 7.6l-3.1 3.1-1.6-1.6L4.4 6 1.3 2.9z",
};

function glyph(status) {
  return draw(
    "svg",
    { class: `glyph ${status}`, viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
    draw("path", { d: SHAPES[status], "fill-rule": "evenodd" }),
  );
}

// Words between backticks are names of tools and arguments.
function ticked(text) {
  return String(text)
    .split("`")
    .map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

const badge = (status) => el("span", { class: `badge ${status}` }, glyph(status), status);

function say(text) {
  byId("live").textContent = clean(text);
}

// For a shell: an id may begin with a dash, a name may hold anything.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
