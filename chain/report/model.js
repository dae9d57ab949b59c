// The record, as objects. The law of this part: it joins what it was told and works nothing out a second time.

const EMBEDDED = JSON.parse(byId("data").textContent); // null where a server tells
const LOG = JSON.parse(byId("log").textContent);
let DATA, nodes, events, roots, order, moments, earliest;

function rows(table) {
  return table.rows.map((row, index) => {
    const made = { index };
    table.columns.forEach((name, place) => {
      made[name] = row[place];
    });
    return made;
  });
}

function joinNodes() {
  nodes = rows(DATA.nodes);
  roots = [];
  for (const node of nodes) {
    node.below = [];
    node.events = [];
    node.who = DATA.holders[node.holder];
    node.name = called(node.who.name);
    node.gives = DATA.grants[node.grant];
    node.lost = DATA.losses[node.narrowed];
    node.above = node.parent < 0 ? null : nodes[node.parent];
    if (node.above) node.above.below.push(node);
    else roots.push(node);
  }
}

function joinEvents() {
  events = rows(DATA.events);
  for (const event of events) {
    event.refused = event.effect === "DENY" || event.effect === "REFUSED";
    event.waits = event.effect === "APPROVAL_REQUIRED";
    if (event.node >= 0) nodes[event.node].events.push(event);
  }
}

// Depth first, so that what belongs together stands together.
function arrange() {
  order = [];
  const stack = roots.slice().reverse();
  while (stack.length) {
    const node = stack.pop();
    node.place = order.length;
    order.push(node);
    for (let at = node.below.length - 1; at >= 0; at -= 1) stack.push(node.below[at]);
  }
  for (let at = order.length - 1; at >= 0; at -= 1) {
    const node = order[at];
    node.beneath = node.below.reduce((sum, one) => sum + 1 + one.beneath, 0);
  }
}

// Every instant at which something changed, up to the report's own; where suspensions were let go of, from when all are known.
function instants() {
  const found = new Set([DATA.at]);
  for (const node of nodes) for (const one of [[node.made], ...node.turns]) found.add(one[0]);
  for (const event of events) found.add(event.time);
  for (const asked of DATA.approvals) for (const word of [asked, ...asked.words, ...asked.uses]) found.add(word.time);
  const all = [...found].filter((time) => time <= DATA.at).sort((a, b) => a - b);
  earliest = all[0];
  return all.filter((time) => time >= DATA.since || time === DATA.at);
}

// Takes the place of what was told before; what was chosen stays chosen.
function load(data) {
  DATA = data;
  joinNodes();
  joinEvents();
  arrange();
  moments = instants();
  found = null;
  const again = new Map(nodes.map((node) => [node.id, node]));
  for (const name of ["selected", "from", "scope"]) state[name] = (state[name] && again.get(state[name].id)) || null;
}

const state = {
  at: 0,
  selected: null,
  from: null,
  scope: null,
  tab: "graph",
  query: "",
  agent: "",
  task: "",
  since: NaN,
  until: NaN,
  statuses: new Set(STATUSES),
  effect: "",
  page: {},
  sort: {},
};

// [time, status, record, cause, of] at an instant; null before it was made.
function turn(node, at) {
  let found = null;
  for (const one of node.turns) {
    if (one[0] > at) break;
    found = one;
  }
  return found;
}

// Asked for again and again between two steps of the slider, so it is kept with the instant that it was found for.
function status(node) {
  if (node.seenAt !== state.at) {
    const found = turn(node, state.at);
    node.seenAt = state.at;
    node.now = found ? found[1] : null;
  }
  return node.now;
}

function chain(node) {
  const found = [];
  for (let at = node; at; at = at.above) found.push(at);
  return found.reverse();
}

const beneath = (node) => order.slice(node.place + 1, node.place + 1 + node.beneath);

// What dies with a delegation: itself and all beneath it that stand or are only suspended.
function falls(node) {
  return [node, ...beneath(node)].filter((one) => ["live", "suspended"].includes(status(one)));
}

// From one delegation to another over the one that both come from; null where there is none.
function route(from, to) {
  const up = chain(from);
  const down = chain(to);
  if (up[0] !== down[0]) return null;
  let shared = 0;
  while (shared < up.length && up[shared] === down[shared]) shared += 1;
  return [...up.slice(shared - 1).reverse(), ...down.slice(shared)];
}

const seen = (list) => (state.at >= DATA.at ? list : list.filter((one) => one.time <= state.at));
