// What is drawn when. The law of this part: every change of state ends in `update`, and nothing is drawn elsewhere.

const TABS = [
  ["graph", "Graph", drawGraph],
  ["delegations", "Delegations", drawDelegations],
  ["calls", "Calls and refusals", drawCalls],
  ["approvals", "Approvals", drawApprovals],
  ["findings", "Findings", drawFindings],
  ["proof", "Proof", drawProof],
];

function card(id, title, big, sub, onclick) {
  return el(
    "button",
    { type: "button", class: "cardlet", id: `card-${id}`, onclick },
    el("span", { class: "title" }, title),
    el("span", { class: "big" }, big),
    el("span", { class: "sub" }, sub),
  );
}

function tally() {
  const found = Object.fromEntries(STATUSES.map((name) => [name, 0]));
  for (const node of nodes) {
    const now = status(node);
    if (now) found[now] += 1;
  }
  return found;
}

function drawSummary() {
  const now = tally();
  const bad = seen(events).filter((event) => event.refused);
  const reasons = new Map();
  for (const event of bad) reasons.set(event.reason, (reasons.get(event.reason) || 0) + 1);
  const top = [...reasons].sort((a, b) => b[1] - a[1])[0];
  const asked = seen(DATA.approvals);
  const people = new Set(
    asked.flatMap((one) =>
      seen(one.words)
        .filter((word) => word.said === "approve")
        .map((word) => called(word.who)),
    ),
  );
  const given = asked.filter((one) => one.state === "approved").length;
  const listed = DATA.letgo.requests ? ` of the ${asked.length.toLocaleString("en")} listed` : "";
  byId("summary").replaceChildren(
    card("proof", "Is it intact?", "", "", () => go("proof")),
    card(
      "live",
      state.at === DATA.at && Math.abs(DATA.at - DATA.made) < 5000 ? "Stands now" : "Stands then",
      count(now.live, "delegation"),
      ["suspended", "revoked", "expired"].map((name) => `${now[name].toLocaleString("en")} ${name}`).join(" · "),
      () => {
        state.statuses = new Set(["live"]);
        for (const box of byId("statuses").querySelectorAll("input")) box.checked = box.value === "live";
        go("graph");
      },
    ),
    card(
      "refused",
      "Refused",
      count(bad.length + (DATA.others || 0), "ask"),
      top ? `most often ${top[0]} (${top[1].toLocaleString("en")})` : "nothing was refused",
      () => {
        state.effect = "refused";
        go("calls");
      },
    ),
    card(
      "approved",
      "Put before people",
      count(asked.length + DATA.letgo.requests, "request"),
      `${given} approved${listed}${people.size ? `, by ${short([...people].join(" and "), 40)}` : ""}`,
      () => go("approvals"),
    ),
    card(
      "findings",
      "Worth a look",
      count(DATA.findings.length, "finding"),
      [...new Set(DATA.findings.map((one) => one.kind))].slice(0, 3).join(", ") || "nothing stands out",
      () => go("findings"),
    ),
  );
  drawProofState();
}

function matched(hits, above) {
  const all = count(nodes.length, "delegation");
  if (hits === nodes.length) return all;
  return `${hits.toLocaleString("en")} of ${all}${above > 0 ? `, and ${above} above them` : ""}`;
}

// What is held no longer and changes nothing that is shown, counted.
function letgo() {
  const { enrolled, revocations, tools, stops } = DATA.letgo;
  const idle = [
    [enrolled, "enrolment"],
    [revocations, "revocation"],
    [tools, "tool"],
  ].filter(([number]) => number);
  const said = [];
  if (idle.length)
    said.push(`${idle.map(([number, one]) => count(number, one)).join(", ")} that nothing here bears: counted, not held.`);
  const since = DATA.since ? `; how things stood is told from ${when(DATA.since)} on` : "";
  if (stops)
    said.push(`${count(stops, "suspension")} over before ${stops === 1 ? "is" : "are"} counted and not shown${since}.`);
  return said;
}

function drawGraph(view) {
  const wanted = chosen();
  const { hits, shown } = wanted;
  const fits = shown.size <= MAX_DRAWN;
  const zoom = (by) => {
    state.scale = Math.min(4, Math.max(0.25, (state.scale || 1) * by));
    drawView();
  };
  view.append(
    el(
      "div",
      { class: "bar" },
      el("span", { class: "muted" }, matched(hits.size, fits ? shown.size - hits.size : 0)),
      state.scope
        ? el(
            "button",
            {
              type: "button",
              class: "chip",
              onclick: () => {
                state.scope = null;
                update();
              },
            },
            `lineage of ${short(state.scope.name, 30)} ✕`,
          )
        : null,
      DATA.gone
        ? el(
            "span",
            { class: "muted" },
            `${count(DATA.gone, "delegation")} that ${DATA.gone === 1 ? "was" : "were"} over before ${DATA.gone === 1 ? "is" : "are"} not shown.`,
          )
        : null,
      ...letgo().map((said) => el("span", { class: "muted" }, said)),
      fits
        ? null
        : el(
            "span",
            { class: "muted" },
            "Each mark is one. Choose one and then “Only its lineage”, or filter, to read them.",
          ),
      el("span", { class: "spring" }),
      el("button", { type: "button", class: "small", "aria-label": "Smaller", onclick: () => zoom(0.8) }, "−"),
      el("button", { type: "button", class: "small", "aria-label": "Larger", onclick: () => zoom(1.25) }, "+"),
    ),
  );
  byId("save-svg").disabled = !fits || !shown.size;
  byId("save-svg").title = fits ? "" : "Narrow the graph until it is drawn with names";
  if (!nodes.length) view.append(el("p", { class: "empty" }, "No delegation in this record."));
  else if (!shown.size)
    view.append(
      el(
        "p",
        { class: "empty" },
        "Nothing matches. ",
        el("button", { type: "button", class: "link", onclick: clearFilters }, "Clear the filters"),
      ),
    );
  else if (fits) drawTree(view, wanted);
  else drawOverview(view, wanted);
}

function drawTabs() {
  const sizes = {
    delegations: nodes.length,
    calls: events.length,
    approvals: DATA.approvals.length,
    findings: DATA.findings.length,
  };
  byId("tabs").replaceChildren(
    ...TABS.map(([id, title]) =>
      el(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${id}`,
          "aria-selected": id === state.tab ? "true" : "false",
          "aria-controls": "view",
          tabindex: id === state.tab ? 0 : -1,
          onclick: () => go(id),
        },
        title,
        sizes[id] === undefined ? null : el("span", { class: "size" }, sizes[id].toLocaleString("en")),
      ),
    ),
  );
}

function drawView() {
  const view = byId("view");
  const before = byId("scroll");
  const kept = before && view.dataset.tab === state.tab ? [before.scrollLeft, before.scrollTop] : [0, 0];
  const focused = view.contains(document.activeElement) && document.activeElement.closest("[data-node]");
  view.replaceChildren();
  view.dataset.tab = state.tab;
  byId("main").classList.toggle("wide", state.tab !== "graph" && !state.selected);
  view.setAttribute("aria-labelledby", `tab-${state.tab}`);
  TABS.find(([id]) => id === state.tab)[2](view);
  const scroll = byId("scroll");
  if (scroll) [scroll.scrollLeft, scroll.scrollTop] = kept;
  if (focused && byId("graph"))
    byId("graph").querySelector(`[data-node="${focused.dataset.node}"]`)?.focus({ preventScroll: true });
}

function update() {
  drawSummary();
  drawTabs();
  drawView();
  drawPanel();
}

function go(tab) {
  state.tab = tab;
  update();
  byId(`tab-${tab}`).focus({ preventScroll: true });
}

function select(node, { focus = false }) {
  state.selected = node;
  if (node && state.tab !== "graph" && focus) byId("panel").focus({ preventScroll: true });
  drawView();
  drawPanel();
  say(node ? told(node) : "nothing selected");
}

function buildTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (on) => {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    button.setAttribute("aria-pressed", on ? "true" : "false");
    if (DATA && state.tab === "graph") drawView();
  };
  set(dark.matches);
  dark.addEventListener("change", () => set(dark.matches));
  button.addEventListener("click", () => set(document.documentElement.dataset.theme !== "dark"));
}

// What is said of the whole: where it is from, and as of when.
function title() {
  document.title = clean(`Chain ${EMBEDDED ? "report" : "live"} · ${DATA.origin.named} · ${when(DATA.at)}`);
  byId("what").textContent = clean(
    `${DATA.origin.named}${DATA.task === null ? "" : `, task ${DATA.task}`} · ${count(DATA.revision, "record")} from ${when(earliest)} · as of ${when(DATA.at)}`,
  );
  const made = EMBEDDED
    ? `Made ${when(DATA.made)} by chain report. This file loads nothing and sends nothing.`
    : "This page asks its own server alone, and changes nothing there.";
  const kinds = Object.keys(DATA.unknown);
  if (DATA.letgo.unknown) kinds.push(`and ${count(DATA.letgo.unknown, "record")} of others`);
  byId("foot").textContent = clean(
    `${made}${kinds.length ? ` Records of kinds that are not known here: ${kinds.join(", ")}.` : ""}`,
  );
  byId("moment").max = moments.length - 1;
  nameFilters();
}

function start(data) {
  load(data);
  title();
  byId("main").after(el("dialog", { id: "record", "aria-labelledby": "record-title" }));
  buildFilters();
  buildReplay();
  buildSaves();
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = TABS.findIndex(([id]) => id === state.tab);
    go(TABS[(at + step + TABS.length) % TABS.length][0]);
  });
  byId("moment").value = moments.length - 1;
  setMoment(moments.length - 1);
  // Paper is white: what is drawn in colours of the dark is drawn anew for it.
  const look = document.documentElement.dataset;
  let screen = look.theme;
  const show = (theme) => {
    look.theme = theme;
    if (state.tab === "graph") drawView();
  };
  window.addEventListener("beforeprint", () => {
    screen = look.theme;
    show("light");
  });
  window.addEventListener("afterprint", () => show(screen));
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (state.tab === "graph" && window.innerWidth !== width) {
      width = window.innerWidth;
      drawView();
    }
  });
  requestAnimationFrame(() =>
    setTimeout(() => {
      performance.mark("drawn");
      runProof();
    }, 0),
  );
}

buildTheme();
if (EMBEDDED) start(EMBEDDED);
