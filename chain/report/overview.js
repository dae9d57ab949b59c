// The graph of what does not fit: a band for each hop, a mark for each delegation. The law of this part: one canvas,
// drawn in a pass for each status, so that twenty thousand marks cost no more than a glance.

const BAND = { label: 24, gap: 16, pad: 12, least: 4, most: 16, area: 520 };
let grid = null;

function bands(list, width) {
  const hops = new Map();
  for (const node of list) {
    if (!hops.has(node.hop)) hops.set(node.hop, []);
    hops.get(node.hop).push(node);
  }
  const full = [...hops].sort((a, b) => a[0] - b[0]).map(([hop, all]) => ({ hop, nodes: all }));
  const tall = (cell) =>
    full.reduce(
      (sum, one) =>
        sum + BAND.label + BAND.gap + Math.ceil(one.nodes.length / Math.floor((width - 2 * BAND.pad) / cell)) * cell,
      BAND.gap,
    );
  let cell = BAND.most;
  while (cell > BAND.least && tall(cell) > BAND.area) cell -= 1;
  cell = Math.min(BAND.most * 2, Math.max(BAND.least, Math.round(cell * (state.scale || 1))));
  const across = Math.floor((width - 2 * BAND.pad) / cell);
  let y = BAND.gap;
  for (const one of full) {
    one.y = y + BAND.label;
    y = one.y + Math.ceil(one.nodes.length / across) * cell + BAND.gap;
  }
  return { full, cell, across, width, height: y };
}

function spot(node) {
  const band = grid.full.find((one) => one.hop === node.hop);
  const at = grid.index.get(node);
  if (!band || at === undefined) return null;
  return [
    BAND.pad + (at % grid.across) * grid.cell + grid.cell / 2,
    band.y + Math.floor(at / grid.across) * grid.cell + grid.cell / 2,
  ];
}

function nodeAt(x, y) {
  for (const band of grid.full) {
    const [column, row] = [Math.floor((x - BAND.pad) / grid.cell), Math.floor((y - band.y) / grid.cell)];
    if (row < 0 || column < 0 || column >= grid.across) continue;
    const found = band.nodes[row * grid.across + column];
    if (found && row < Math.ceil(band.nodes.length / grid.across)) return found;
  }
  return null;
}

function mark(pen, kind, x, y, r) {
  if (kind === "revoked") {
    pen.moveTo(x - r, y - r);
    pen.lineTo(x + r, y + r);
    pen.moveTo(x + r, y - r);
    pen.lineTo(x - r, y + r);
  } else if (kind === "suspended") {
    pen.moveTo(x - r / 2, y - r);
    pen.lineTo(x - r / 2, y + r);
    pen.moveTo(x + r / 2, y - r);
    pen.lineTo(x + r / 2, y + r);
  } else if (kind === "dot") {
    pen.rect(x - 0.75, y - 0.75, 1.5, 1.5);
  } else if (r < 2) {
    pen.rect(x - r, y - r, 2 * r, 2 * r);
  } else {
    pen.moveTo(x + r, y);
    pen.arc(x, y, r, 0, 7);
  }
}

function paint(canvas, hits) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(grid.width * dense);
  canvas.height = Math.round(grid.height * dense);
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = colour("muted");
  for (const band of grid.full) {
    pen.fillText(
      `${band.hop === 0 ? "hop 0 · issued" : `hop ${band.hop}`} · ${count(band.nodes.length, "delegation")}`,
      BAND.pad,
      band.y - 8,
    );
  }
  const r = Math.max(1.2, grid.cell * 0.3);
  const small = grid.cell < 7; // a ring would be a blot there, so what has expired is faint
  const groups = new Map();
  for (const band of grid.full) {
    band.nodes.forEach((node, at) => {
      const key = `${hits.has(node) ? "" : "un"}matched ${status(node)}`;
      if (!groups.has(key)) groups.set(key, []);
      groups
        .get(key)
        .push(
          BAND.pad + ((at % grid.across) + 0.5) * grid.cell,
          band.y + (Math.floor(at / grid.across) + 0.5) * grid.cell,
        );
    });
  }
  for (const [key, spots] of groups) {
    const [matched, kind] = key.split(" ");
    pen.globalAlpha = (matched === "matched" ? 1 : 0.14) * (small && kind === "expired" ? 0.4 : 1);
    pen.beginPath();
    for (let at = 0; at < spots.length; at += 2)
      mark(pen, small && kind === "expired" ? "dot" : kind, spots[at], spots[at + 1], r);
    pen.fillStyle = pen.strokeStyle = colour(kind);
    pen.lineWidth = Math.max(1, grid.cell / 8);
    if (kind === "live" || (small && kind === "expired")) pen.fill();
    else pen.stroke();
  }
  pen.globalAlpha = 1;
  paintRefused(pen, colour, r);
  paintSelected(pen, colour, r);
}

// A corner of its own colour: somebody was refused there.
function paintRefused(pen, colour, r) {
  if (grid.cell < 7) return;
  pen.fillStyle = colour("refused");
  for (const band of grid.full) {
    for (const node of band.nodes) {
      if (!node.events.length || !refusals(node).length) continue;
      const [x, y] = spot(node);
      pen.fillRect(x + r * 0.6, y - r * 1.5, Math.max(2, r * 0.8), Math.max(2, r * 0.8));
    }
  }
}

function paintSelected(pen, colour, r) {
  if (!state.selected) return;
  pen.strokeStyle = pen.fillStyle = colour("accent");
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const node of beneath(state.selected)) {
    const at = grid.index.has(node) && spot(node);
    if (at) {
      pen.moveTo(at[0] + r + 1.5, at[1]);
      pen.arc(at[0], at[1], r + 1.5, 0, 7);
    }
  }
  pen.stroke();
  pen.beginPath();
  const path = state.from ? route(state.from, state.selected) || [state.selected] : chain(state.selected);
  const spots = path.filter((node) => grid.index.has(node)).map(spot);
  spots.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
  pen.lineWidth = 2.5;
  pen.beginPath();
  for (const [x, y] of spots) {
    pen.moveTo(x + r + 3, y);
    pen.arc(x, y, r + 3, 0, 7);
  }
  pen.stroke();
}

function drawOverview(view, { hits, shown }) {
  const list = order.filter((node) => (state.scope ? shown.has(node) : status(node) !== null));
  const width = Math.max(320, view.clientWidth - 26);
  grid = bands(list, width);
  grid.index = new Map();
  for (const band of grid.full) band.nodes.forEach((node, at) => grid.index.set(node, at));
  const canvas = el("canvas", {
    id: "overview",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "map of delegations",
    "aria-label": `${count(list.length, "delegation")}, ${count(hits.size, "match", "matches")}. Arrow keys go along the chain and to neighbours, Enter selects. The tab Delegations has the same as a table.`,
  });
  canvas.style.width = `${grid.width}px`;
  canvas.style.height = `${grid.height}px`;
  const tip = el("div", { class: "tip", hidden: true });
  const under = (event) => {
    const edges = canvas.getBoundingClientRect();
    return nodeAt(event.clientX - edges.left, event.clientY - edges.top);
  };
  canvas.addEventListener("click", (event) => {
    const node = under(event);
    if (node) select(node, {});
  });
  canvas.addEventListener("mousemove", (event) => {
    const node = under(event);
    tip.hidden = !node;
    canvas.style.cursor = node ? "pointer" : "default";
    if (!node) return;
    const edges = view.getBoundingClientRect();
    tip.textContent = `${short(node.name, 40)} · ${status(node)} · ${short(tools(node), 60)}`;
    tip.style.left = `${Math.min(event.clientX - edges.left + 14, Math.max(0, edges.width - 300))}px`;
    tip.style.top = `${event.clientY - edges.top + 16}px`;
  });
  canvas.addEventListener("mouseleave", () => {
    tip.hidden = true;
  });
  canvas.addEventListener("keydown", overviewKey);
  view.append(el("div", { class: "scroll", id: "scroll" }, canvas), tip);
  paint(canvas, hits);
}

function overviewKey(event) {
  const node = state.selected || order.find((one) => grid.index.has(one));
  const band = node && grid.full.find((one) => one.hop === node.hop);
  if (!band) return;
  const at = grid.index.get(node);
  const to = {
    ArrowLeft: () => band.nodes[at - 1],
    ArrowRight: () => band.nodes[at + 1],
    ArrowUp: () => node.above,
    ArrowDown: () => node.below[0],
    Enter: () => node,
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const next = to();
  if (next && grid.index.has(next)) {
    select(next, {});
    byId("overview").focus();
  }
}
