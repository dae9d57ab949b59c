// The page verifies what it holds. The law of this part: it believes the log's key and nothing else, works out the whole
// tree (RFC 9162 s2.1), and says what it did not check.

const TILE = 256;
const ATONCE = 512;
const proof = { records: null, state: LOG ? "waiting" : EMBEDDED ? "none" : "asked", text: "", flaws: [], checked: 0 };

const bytesOf = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const hex = (bytes) => [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
const same = (a, b) => a.length === b.length && a.every((one, at) => one === b[at]);

function joined(...parts) {
  const made = new Uint8Array(parts.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of parts) {
    made.set(one, at);
    at += one.length;
  }
  return made;
}

const sha = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
const [LEAF, NODE] = [Uint8Array.of(0), Uint8Array.of(1)];

async function rootOf(hashes) {
  let row = hashes;
  if (!row.length) return sha();
  while (row.length > 1) {
    const next = [];
    for (let at = 0; at < row.length; at += 2)
      next.push(at + 1 < row.length ? sha(NODE, row[at], row[at + 1]) : row[at]);
    row = await Promise.all(next);
  }
  return row[0];
}

function hashes(text) {
  const all = bytesOf(text);
  return Array.from({ length: all.length / 32 }, (_, at) => all.subarray(at * 32, at * 32 + 32));
}

// Revision -> the exact text of its record.
function records() {
  proof.records ??= (async () => {
    const packed = bytesOf(byId("records").textContent);
    const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
    const found = new Map();
    for (const line of text ? text.split("\n") : []) found.set(Number(/"revision":(\d+)/.exec(line)[1]), line);
    return found;
  })();
  return proof.records;
}

async function leavesOf(held, size) {
  const leaves = new Array(size).fill(null);
  const encoder = new TextEncoder();
  const lines = [...held].filter(([revision]) => revision <= size);
  for (let at = 0; at < lines.length; at += ATONCE) {
    const some = lines.slice(at, at + ATONCE);
    const made = await Promise.all(some.map(([, line]) => sha(LEAF, encoder.encode(line))));
    some.forEach(([revision], place) => {
      leaves[revision - 1] = made[place];
    });
    proof.checked = Math.min(lines.length, at + ATONCE);
    drawProofState();
  }
  const others = hashes(LOG.others.hashes);
  LOG.others.records.forEach((revision, at) => {
    leaves[revision - 1] ??= others[at];
  });
  return leaves;
}

function checkpoint({ note, key }) {
  const at = note.lastIndexOf("\n\n");
  const text = note.slice(0, at + 1);
  const [origin, size, root] = text.split("\n");
  const [, name, id, material] = /^(\S+?)\+([0-9a-f]{8})\+(\S+)$/.exec(key);
  const lines = note
    .slice(at + 2)
    .split("\n")
    .map((line) => /^— (\S+) (\S+)$/.exec(line))
    .filter(Boolean);
  return {
    text,
    origin,
    size: Number(size),
    root: bytesOf(root),
    name,
    id,
    material: bytesOf(material),
    signatures: lines.map(([, who, value]) => ({ who, value: bytesOf(value) })),
  };
}

// true, false, or null where this browser cannot tell.
async function signed(point) {
  const encoder = new TextEncoder();
  const id = (await sha(encoder.encode(`${point.name}\n`), point.material)).slice(0, 4);
  if (hex(id) !== point.id || point.material[0] !== 1 || point.name !== point.origin) return false;
  const mine = point.signatures.find((one) => one.who === point.name && same(one.value.slice(0, 4), id));
  if (!mine) return false;
  let key;
  try {
    key = await crypto.subtle.importKey("raw", point.material.slice(1), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return null;
  }
  return crypto.subtle.verify({ name: "Ed25519" }, key, mine.value.slice(4), encoder.encode(point.text));
}

// What the page says of a record against the record itself.
function disagreements(held) {
  const found = [];
  const body = (number) => {
    const line = held.get(number);
    return line ? JSON.parse(line).body : null;
  };
  for (const node of nodes) {
    const one = body(node.record);
    const above = node.above ? node.above.id : one && one.parent;
    if (
      !one ||
      one.id !== node.id ||
      one.holder !== node.who.key ||
      one.hop !== node.hop ||
      one.jti !== node.jti ||
      one.parent !== above ||
      one.iat * 1000 !== node.from
    )
      found.push(node.record);
  }
  for (const event of events) {
    const one = body(event.record);
    const fits =
      one &&
      one.reason === event.reason &&
      (event.effect === "REFUSED"
        ? one.method === event.what
        : one.effect === event.effect && one.tool === event.what && one.id === event.id);
    if (!fits) found.push(event.record);
  }
  return [...found, ...leftOut(held)];
}

const TOLD = /^\{"revision":\d+,"kind":"(issued|delegated|admitted|decided|refused|revoked)"/;

// Records that the page holds and does not tell: a call that was dropped, a revocation that is not shown.
function leftOut(held) {
  const told = new Set([...nodes, ...events].map((one) => one.record));
  const named = new Map(nodes.map((node) => [node.id, node]));
  const found = [];
  for (const [revision, line] of held) {
    const kind = TOLD.exec(line)?.[1];
    if (!kind || told.has(revision)) continue;
    const node = named.get(JSON.parse(line).body.id);
    const shown =
      kind === "revoked" ? !node || node.turns.some((one) => one[1] === "revoked") : node || DATA.task !== null;
    if (!shown) found.push(revision);
  }
  return found;
}

async function verify() {
  const point = checkpoint(LOG);
  proof.point = point;
  proof.signed = await signed(point);
  const held = await records();
  const leaves = await leavesOf(held, point.size);
  const missing = leaves.findIndex((one) => one === null);
  if (missing >= 0) return proof.flaws.push(`record ${missing + 1} is missing`);
  const told = hashes(LOG.tiles);
  const made = [];
  for (let at = 0; at < leaves.length; at += TILE) made.push(await rootOf(leaves.slice(at, at + TILE)));
  if (!same(await rootOf(made), point.root)) {
    if (same(await rootOf(told), point.root)) {
      made.forEach((one, at) => {
        if (!same(one, told[at]))
          proof.flaws.push(
            `among the records ${at * TILE + 1} to ${Math.min(point.size, at * TILE + TILE)} one is not what was signed`,
          );
      });
    } else proof.flaws.push(`the records do not give the root that was signed`);
  }
  if (proof.signed === false) proof.flaws.push("the checkpoint does not bear the log's signature");
  for (const number of disagreements(held)) proof.flaws.push(`record ${number} says something else than this page`);
  proof.held = [...held.keys()].filter((revision) => revision <= point.size).length;
  proof.later = [...held.keys()].filter((revision) => revision > point.size).length;
  return proof.flaws.length;
}

async function runProof() {
  if (!LOG) return;
  proof.state = "running";
  drawProofState();
  try {
    if (!globalThis.crypto?.subtle) throw new Error("this browser gives the page no WebCrypto");
    await verify();
    proof.state = proof.flaws.length ? "broken" : proof.signed === null ? "unsigned" : "intact";
  } catch (error) {
    proof.state = "failed";
    proof.text = String(error.message || error);
  }
  drawProofState();
  if (state.tab === "proof") drawView();
}

const PROVEN = {
  none: ["Not checked", "no checkpoint in this report"],
  asked: ["Record by record", "open one: this browser checks it"],
  waiting: ["Checking…", ""],
  running: ["Checking…", ""],
  intact: ["Intact", "checked by this browser"],
  unsigned: ["Whole", "this browser cannot check the signature"],
  broken: ["NOT intact", "see what was found"],
  failed: ["Not checked", "the check could not be made"],
};

function drawProofState() {
  const card = byId("card-proof");
  if (!card) return;
  const [title, text] = PROVEN[proof.state];
  card.dataset.state = proof.state;
  card.querySelector(".big").textContent = title;
  card.querySelector(".sub").textContent =
    proof.state === "running" && proof.checked
      ? `${proof.checked.toLocaleString("en")} records hashed`
      : proof.state === "intact"
        ? `${count(proof.held, "record")}, ${text}`
        : text;
}

function verdict() {
  switch (proof.state) {
    case "none":
      return "This report carries no checkpoint, so nothing in it is proven. Make it from an export, or from an authority that signs checkpoints.";
    case "asked":
      return "Each record is asked for when it is opened, with its proof where the authority signs checkpoints, and this browser checks it. The file that `chain report` writes proves all of them at once.";
    case "intact":
      return `Every one of the ${count(proof.held, "record")} that this page holds stands in the log that was signed, and the page agrees with each.`;
    case "unsigned":
      return `The ${count(proof.held, "record")} that this page holds give the root of the checkpoint. This browser cannot check an Ed25519 signature: let \`chain audit verify\` do it.`;
    case "broken":
      return "What this page holds is not what was signed:";
    case "failed":
      return `The check could not be made: ${proof.text}.`;
    default:
      return "The browser is working out the tree…";
  }
}

function drawProof(view) {
  view.append(el("p", { class: `verdict ${proof.state}` }, verdict()));
  if (proof.flaws.length)
    view.append(
      el(
        "ul",
        { class: "bad" },
        proof.flaws.slice(0, 50).map((one) => el("li", {}, one)),
      ),
    );
  if (proof.point) {
    view.append(
      facts([
        ["log", proof.point.origin],
        ["records covered", `1 to ${proof.point.size.toLocaleString("en")}`],
        ["root", hex(proof.point.root)],
        ["verifier key", LOG.key],
        ["signature", { true: "holds", false: "does not hold", null: "not checked here" }[proof.signed]],
        [
          "other signatures",
          proof.point.signatures
            .filter((one) => one.who !== proof.point.name)
            .map((one) => one.who)
            .join(", "),
        ],
        ["by hash alone", LOG.others.records.length ? count(LOG.others.records.length, "record") : ""],
        ["not covered yet", proof.later ? count(proof.later, "later record") : ""],
      ]),
      el("details", {}, el("summary", {}, "The checkpoint, as it was signed"), el("pre", {}, LOG.note)),
    );
  }
  view.append(
    el("h3", {}, "What this is worth"),
    el(
      "p",
      { class: "muted" },
      "Compare the verifier key with the one that you were given by a way of its own: who can change this file can change its key and its script as well. Whoever must not believe this file checks an export with chain audit verify, or with a program of their own. What a grant means in words, and who a key belongs to, was written by the program that made the report.",
    ),
    el("h3", {}, "Policies"),
    DATA.policies.length
      ? el(
          "ul",
          {},
          seen(DATA.policies).map((one) =>
            el(
              "li",
              {},
              `${when(one.time)}: ${one.digest} with ${count(one.rules.length, "rule")} · `,
              toRecord(one.record),
            ),
          ),
        )
      : el("p", { class: "muted" }, "No policy came into force in this record."),
    DATA.letgo.policies ? el("p", { class: "muted" }, `${DATA.letgo.policies} earlier: counted, not listed.`) : "",
  );
}

async function heldRecord(number) {
  const line = (await records()).get(number);
  const covered = proof.point && number <= proof.point.size && ["intact", "unsigned"].includes(proof.state);
  return {
    line,
    said: line
      ? covered
        ? "Stands in the log that was signed: verified by this browser."
        : "Not proven here: see Proof."
      : "This page does not hold it.",
  };
}

let recordOf = heldRecord; // where a server tells, it is asked

// One record, as it stands in the ledger.
async function showRecord(number) {
  const box = byId("record");
  const { line, said } = await recordOf(number);
  box.replaceChildren(
    el("h2", { tabindex: -1, id: "record-title" }, `Record ${number}`),
    el("p", { class: "muted" }, said),
    el("pre", {}, line ? JSON.stringify(JSON.parse(line), null, 2) : ""),
    el("button", { type: "button", onclick: () => box.close() }, "Close"),
  );
  if (!box.open) box.showModal();
}
