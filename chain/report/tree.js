// The graph of what fits on a screen: a column for each hop, drawn as SVG. The law of this part: one pass lays it out,
// and every node is reached and told by keyboard.

const MAX_DRAWN = 500; // nodes that a browser keeps as elements with ease
const BOX = { width: 218, height: 44, gap: 14, column: 290, stub: 17, left: 12, top: 34 };
const MAX_STUBS = 2;

const refusals = (node) => seen(node.events).filter((event) => event.refused);
const waiting = (node) => seen(node.events).filter((event) => event.waits);

function layout(shown) {
  let bottom = 0;
  const places = new Map();
  const hops = [...new Set([...shown].map((node) => node.hop))].sort((a, b) => a - b);
  const put = (node, top) => {
    const kids = node.below.filter((one) => shown.has(one));
    const height = BOX.height + stubTexts(node).length * BOX.stub + BOX.gap;
    let next = top;
    for (const kid of kids) next = put(kid, next);
    const y = kids.length ? places.get(kids[0]).y : top; // in the middle of many it would be out of sight
    places.set(node, { x: BOX.left + hops.indexOf(node.hop) * BOX.column, y, kids });
    const end = Math.max(next, y + height);
    bottom = Math.max(bottom, end);
    return end;
  };
  let top = BOX.top;
  for (const root of order) if (shown.has(root) && !(root.above && shown.has(root.above))) top = put(root, top) + 8;
  return { places, width: BOX.left * 2 + (hops.length - 1) * BOX.column + BOX.width + 20, height: bottom + 10, hops };
}

function tools(node) {
  const names = node.gives.tools;
  return names.length ? names.slice(0, 3).join(", ") + (names.length > 3 ? ` +${names.length - 3}` : "") : "no tool";
}

function told(node) {
  const now = turn(node, state.at);
  const bad = refusals(node).length;
  return (
    `${node.name}, hop ${node.hop}, ${now ? now[1] : "not made yet"}, may use ${tools(node)}` +
    `${bad ? `, ${count(bad, "refusal")}` : ""}, ${count(node.below.length, "delegation")} beneath`
  );
}

// What was asked here and not let through, alike asks together, the most frequent first.
function stubTexts(node) {
  const alike = new Map();
  for (const event of refusals(node)) {
    const text = `${event.what}: ${event.reason}`;
    alike.set(text, (alike.get(text) || 0) + 1);
  }
  const all = [...alike].sort((a, b) => b[1] - a[1]);
  const shown = all
    .slice(0, MAX_STUBS)
    .map(([text, times]) => ({ text, times: times > 1 ? ` ×${times}` : "", waits: false }));
  const rest = all.slice(MAX_STUBS).reduce((sum, [, times]) => sum + times, 0);
  if (rest) shown.push({ text: `${rest} more refused`, times: "", waits: false });
  const held = waiting(node).length;
  if (held) shown.push({ text: `asked people ${held === 1 ? "once" : `${held} times`}`, times: "", waits: true });
  return shown;
}

function stubs(node, place, hits) {
  return stubTexts(node).map(({ text, times, waits }, at) => {
    const y = place.y + BOX.height + 10 + at * BOX.stub;
    return draw(
      "g",
      { class: `stub${waits ? " waits" : ""}${hits.has(node) ? "" : " context"}` },
      draw("path", { d: `M${place.x + 14} ${y - 9}v9h10`, class: "stub-line" }),
      draw("path", {
        d: waits ? `M${place.x + 28} ${y - 4}v8m5 -8v8` : `M${place.x + 27} ${y - 3.5}l7 7m0 -7l-7 7`,
        class: "stub-mark",
      }),
      draw("text", { x: place.x + 40, y: y + 4 }, short(text, 36 - times.length) + times),
    );
  });
}

function box(node, place, hits, marked) {
  const now = status(node);
  const kinds = [
    "node",
    now,
    hits.has(node) ? "" : "context",
    node === state.selected ? "selected" : "",
    marked.has(node) ? "marked" : "",
  ]
    .filter(Boolean)
    .join(" ");
  const calls = state.at < DATA.at ? seen(node.events).filter((event) => event.effect === "ALLOW").length : node.calls;
  const glyphAt = `translate(${place.x + 11} ${place.y + 9})`;
  return draw(
    "g",
    {
      class: kinds,
      role: "treeitem",
      "data-node": node.index,
      tabindex: -1,
      "aria-label": told(node),
      "aria-level": node.hop + 1,
      "aria-selected": node === state.selected ? "true" : "false",
      ...(place.kids.length ? { "aria-expanded": "true" } : {}),
    },
    draw("title", {}, `${node.who.name}\n${node.gives.lines.join("\n")}`),
    draw("rect", { x: place.x, y: place.y, width: BOX.width, height: BOX.height, rx: 7 }),
    draw("path", { class: `glyph ${now}`, d: SHAPES[now], "fill-rule": "evenodd", transform: glyphAt }),
    draw(
      "svg",
      { x: place.x + 31, y: place.y, width: BOX.width - 39, height: BOX.height },
      draw("text", { class: "name", x: 0, y: 19 }, short(node.name, calls > 0 ? 20 : 26)),
      draw("text", { class: "gives", x: 0, y: 35 }, short(tools(node), 28)),
    ),
    calls > 0 && draw("text", { class: "calls", x: place.x + BOX.width - 9, y: place.y + 19 }, `${calls} ✓`),
  );
}

// Children share a trunk, so that many of them are one line and not a fan.
function edge(from, to, kind) {
  const x = from.x + BOX.width;
  const [y, end] = [from.y + BOX.height / 2, to.y + BOX.height / 2];
  const trunk = x + 30;
  const bent = `H${trunk - 8}q8 0 8 8V${end - 8}q0 8 8 8`;
  return draw("path", { class: `edge ${kind}`, d: `M${x} ${y}${end > y ? bent : ""}H${to.x}` });
}

function marks() {
  if (state.from && state.selected) return new Set(route(state.from, state.selected) || []);
  return new Set(state.selected ? chain(state.selected) : []);
}

function drawTree(view, { hits, shown }) {
  const { places, width, height, hops } = layout(shown);
  const marked = marks();
  const parts = { edges: [], boxes: [], marks: [] };
  hops.forEach((hop, at) =>
    parts.marks.push(
      draw("text", { class: "hop", x: BOX.left + at * BOX.column, y: 18 }, hop === 0 ? "hop 0 · issued" : `hop ${hop}`),
    ),
  );
  for (const node of order) {
    const place = places.get(node);
    if (!place) continue;
    for (const kid of place.kids) {
      const kind = marked.has(node) && marked.has(kid) ? "marked" : status(kid) === "live" ? "" : "ended";
      parts.edges[kind === "marked" ? "push" : "unshift"](edge(place, places.get(kid), kind));
    }
    parts.boxes.push(box(node, place, hits, marked), ...stubs(node, place, hits));
  }
  const scale = state.scale || 1;
  const made = draw(
    "svg",
    {
      id: "graph",
      role: "tree",
      "aria-label": "Delegations by hop",
      viewBox: `0 0 ${width} ${height}`,
      width: Math.round(width * scale),
      height: Math.round(height * scale),
    },
    ...[parts.marks, parts.edges, parts.boxes].map((one) => draw("g", { role: "none" }, one)),
  );
  made.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-node]");
    if (hit) select(nodes[Number(hit.dataset.node)], { focus: true });
  });
  made.addEventListener("keydown", (event) => treeKey(event, places));
  view.append(el("div", { class: "scroll", id: "scroll" }, made));
  const stop =
    (state.selected && made.querySelector(`[data-node="${state.selected.index}"]`)) ||
    made.querySelector("[data-node]");
  if (stop) stop.setAttribute("tabindex", "0");
}

// Left and right go along the chain, up and down to the neighbour on screen.
function treeKey(event, places) {
  const hit = event.target.closest("[data-node]");
  if (!hit) return;
  const node = nodes[Number(hit.dataset.node)];
  const all = order.filter((one) => places.has(one));
  const at = all.indexOf(node);
  const to = {
    ArrowLeft: () => (node.above && places.has(node.above) ? node.above : null),
    ArrowRight: () => places.get(node).kids[0],
    ArrowUp: () => all[at - 1],
    ArrowDown: () => all[at + 1],
    Home: () => all[0],
    End: () => all[all.length - 1],
  }[event.key];
  if (to) {
    event.preventDefault();
    const next = to();
    if (next) rove(next);
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    select(node, { focus: true });
  }
}

function rove(node) {
  const all = byId("graph").querySelectorAll('[tabindex="0"]');
  for (const one of all) one.setAttribute("tabindex", "-1");
  const found = byId("graph").querySelector(`[data-node="${node.index}"]`);
  if (!found) return;
  found.setAttribute("tabindex", "0");
  found.focus();
  found.scrollIntoView({ block: "nearest", inline: "nearest" });
}
