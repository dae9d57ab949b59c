// What is looked at. The law of this part: a filter hides, and what is hidden is counted.

function words(node) {
  node.words ??= [
    node.who.name,
    node.who.key,
    node.who.owner,
    node.id,
    node.jti,
    node.task,
    node.sub,
    node.issuer,
    ...node.gives.lines,
    `record ${node.record}`,
  ]
    .join("\n")
    .toLowerCase();
  return node.words;
}

function matches(node) {
  const now = status(node);
  if (now === null || !state.statuses.has(now)) return false;
  if (state.agent && node.who.name !== state.agent && node.name !== state.agent) return false;
  if (state.task && node.task !== state.task) return false;
  if (node.made < state.since || node.made > state.until) return false;
  return !state.query || state.query.split(/\s+/).every((word) => words(node).includes(word));
}

function inScope(node) {
  const scope = state.scope;
  if (!scope || node === scope) return true;
  if (node.place > scope.place && node.place <= scope.place + scope.beneath) return true;
  return scope.place > node.place && scope.place <= node.place + node.beneath;
}

// Those that match, and those above them without which their place cannot be seen; kept until what is asked changes.
let found = null;

function chosen() {
  const asked = JSON.stringify([
    state.at,
    state.query,
    state.agent,
    state.task,
    state.since,
    state.until,
    [...state.statuses],
    state.scope && state.scope.id,
  ]);
  if (!found || found.asked !== asked) found = { asked, ...choose() };
  return found;
}

function choose() {
  const hits = new Set();
  const shown = new Set();
  for (const node of order) {
    if (!inScope(node) || !matches(node)) continue;
    hits.add(node);
    for (let at = node; at && !shown.has(at); at = at.above) shown.add(at);
  }
  return { hits, shown };
}

function eventMatches(event) {
  const node = event.node < 0 ? null : nodes[event.node];
  if (state.effect === "refused" ? !event.refused : state.effect && event.effect !== state.effect) return false;
  if (state.agent && event.holder !== state.agent && called(event.holder) !== state.agent) return false;
  if (state.task && (event.task || (node && node.task)) !== state.task) return false;
  if (event.time < state.since || event.time > state.until) return false;
  if (state.scope && !(node && inScope(node))) return false;
  if (!state.query) return true;
  const text = [
    event.holder,
    event.what,
    event.target,
    event.reason,
    event.detail,
    event.task,
    event.id,
    event.caller,
    node ? node.id : "",
    `record ${event.record}`,
  ]
    .join("\n")
    .toLowerCase();
  return state.query.split(/\s+/).every((word) => text.includes(word));
}

// 2026-11-26, 2026-11-26 14:00 or 2026-11-26T14:00:05Z, always UTC.
function instantOf(id) {
  const text = byId(id).value.trim().replace(" ", "T").replace(/Z$/, "");
  const time = text ? Date.parse(text.includes("T") ? `${text}Z` : text) : NaN;
  byId(id).setAttribute("aria-invalid", text && Number.isNaN(time) ? "true" : "false");
  return time;
}

function options(id, names) {
  byId(id).replaceChildren(
    ...[...new Set(names)]
      .filter(Boolean)
      .sort()
      .slice(0, 1000)
      .map((name) => el("option", { value: name })),
  );
}

function nameFilters() {
  options(
    "agents",
    DATA.holders.map((one) => one.name),
  );
  options(
    "tasks",
    nodes.map((one) => one.task),
  );
}

function buildFilters() {
  for (const name of STATUSES) {
    const box = el("input", {
      type: "checkbox",
      checked: true,
      value: name,
      onchange: () => {
        if (box.checked) state.statuses.add(name);
        else state.statuses.delete(name);
        update();
      },
    });
    byId("statuses").append(el("label", { class: `badge ${name}` }, box, glyph(name), name));
  }
  const read = () => {
    state.query = byId("query").value.trim().toLowerCase();
    state.agent = byId("agent").value.trim();
    state.task = byId("task").value.trim();
    state.since = instantOf("since");
    state.until = instantOf("until");
    state.page = {};
    update();
  };
  let waiting = 0;
  byId("filters").addEventListener("input", (event) => {
    if (event.target.id === "moment" || event.target.type === "checkbox") return;
    clearTimeout(waiting);
    waiting = setTimeout(read, nodes.length > 3000 ? 200 : 60);
  });
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  byId("reset").addEventListener("click", clearFilters);
}

function clearFilters() {
  for (const id of ["query", "agent", "task", "since", "until"]) byId(id).value = "";
  for (const box of byId("statuses").querySelectorAll("input")) box.checked = true;
  Object.assign(state, { query: "", agent: "", task: "", since: NaN, until: NaN, effect: "", scope: null, page: {} });
  state.statuses = new Set(STATUSES);
  update();
}

// The slider: the record as of any instant at which something changed.
let playing = 0;

function setMoment(place) {
  state.at = moments[place];
  byId("moment").value = place;
  const last = place === moments.length - 1;
  byId("instant").textContent = `${last ? (EMBEDDED ? "as of the report" : "as of now,") : "as of"} ${when(state.at)}`;
  byId("moment").setAttribute("aria-valuetext", when(state.at));
  update();
}

function buildReplay() {
  const slider = byId("moment");
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    byId("play").textContent = "▶";
  };
  slider.addEventListener("input", () => {
    stop();
    setMoment(Number(slider.value));
  });
  byId("play").addEventListener("click", () => {
    if (playing) {
      stop();
      return;
    }
    let place = Number(slider.value) >= moments.length - 1 ? 0 : Number(slider.value);
    const stride = Math.max(1, Math.round(moments.length / 200));
    byId("play").textContent = "❚❚";
    setMoment(place);
    playing = setInterval(() => {
      place = Math.min(moments.length - 1, place + stride);
      setMoment(place);
      if (place === moments.length - 1) stop();
    }, 250);
  });
}
