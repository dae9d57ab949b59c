// The same data as tables. The law of this part: what the graph shows can be read here, in rows, with their records.

const PAGE = 100;

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : Number(String(a) > String(b));
}

// columns: [title, value for sorting, cell]; a cell that is left out is the value.
function table(name, caption, columns, list) {
  const sort = state.sort[name];
  const sorted = sort
    ? [...list].sort((a, b) => sort.way * compare(columns[sort.at][1](a), columns[sort.at][1](b)))
    : list;
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE));
  const page = Math.min(state.page[name] || 0, pages - 1);
  const turnTo = (to) => {
    state.page[name] = to;
    drawView();
    byId("view").focus();
  };
  const head = columns.map(([title], at) => {
    const way = sort && sort.at === at ? sort.way : 0;
    return el(
      "th",
      { scope: "col", "aria-sort": way ? (way > 0 ? "ascending" : "descending") : "none" },
      el(
        "button",
        {
          type: "button",
          class: "sort",
          onclick: () => {
            state.sort[name] = { at, way: way > 0 ? -1 : 1 };
            drawView();
          },
        },
        title,
        el("span", { "aria-hidden": "true" }, way ? (way > 0 ? " ↑" : " ↓") : ""),
      ),
    );
  });
  const body = sorted.slice(page * PAGE, page * PAGE + PAGE).map((one) =>
    el(
      "tr",
      { class: one.refused ? "bad-row" : "" },
      columns.map(([, value, cell]) => el("td", {}, cell ? cell(one) : value(one))),
    ),
  );
  return [
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        { id: `table-${name}` },
        el("caption", {}, caption),
        el("thead", {}, el("tr", {}, head)),
        el("tbody", {}, body),
      ),
    ),
    pages > 1
      ? el(
          "nav",
          { class: "pages", "aria-label": "Pages" },
          el("button", { type: "button", disabled: page === 0, onclick: () => turnTo(page - 1) }, "Before"),
          el("span", {}, `page ${page + 1} of ${pages}`),
          el("button", { type: "button", disabled: page >= pages - 1, onclick: () => turnTo(page + 1) }, "Next"),
        )
      : null,
  ];
}

const cut = (text, length = 60) => el("span", { title: text }, ticked(short(text, length)));
const time = (at) => el("span", { class: "time" }, when(at));

function drawDelegations(view) {
  const { hits } = chosen();
  const list = order.filter((node) => hits.has(node));
  view.append(
    ...table(
      "delegations",
      `${count(list.length, "delegation")} of ${nodes.length.toLocaleString("en")}`,
      [
        ["Record", (one) => one.record, (one) => toRecord(one.record)],
        ["Hop", (one) => one.hop],
        ["Agent", (one) => one.who.name, (one) => toNode(one)],
        ["Status", (one) => status(one), (one) => badge(status(one))],
        ["May use", (one) => tools(one), (one) => cut(one.gives.lines.join("; "), 70)],
        ["Narrowed", (one) => one.lost.length, (one) => cut(one.lost.join("; ") || "–", 50)],
        ["Task", (one) => one.task, (one) => cut(one.task, 24)],
        ["Calls", (one) => one.calls],
        ["Refused", (one) => refusals(one).length],
        ["Expires", (one) => one.expires, (one) => time(one.expires)],
      ],
      list,
    ).filter(Boolean),
  );
}

const EFFECTS = [
  ["", "all"],
  ["ALLOW", "allowed"],
  ["refused", "refused"],
  ["DENY", "calls denied"],
  ["APPROVAL_REQUIRED", "waited for people"],
  ["REFUSED", "changes refused"],
];
const SAID = { ALLOW: "allowed", DENY: "denied", APPROVAL_REQUIRED: "waited", REFUSED: "not made" };

function outcome(event) {
  const kind = event.refused ? "bad" : event.waits ? "waits" : "good";
  return el(
    "span",
    { class: kind },
    event.refused ? "✕ " : event.waits ? "‖ " : "✓ ",
    SAID[event.effect] || event.effect,
  );
}

// What is not listed is counted.
function asked(listed) {
  const parts = [count(listed, "call and change asked for", "calls and changes asked for")];
  const allowed = "counted at their delegations and not listed";
  if (DATA.unlisted) parts.push(`${DATA.unlisted.toLocaleString("en")} earlier allowed calls are ${allowed}`);
  if (DATA.others) parts.push(`${count(DATA.others, "earlier one")} not allowed: counted and not listed`);
  return parts.join("; ");
}

function drawCalls(view) {
  const list = seen(events).filter(eventMatches).reverse();
  const pick = el(
    "select",
    {
      id: "effect",
      onchange: () => {
        state.effect = pick.value;
        state.page = {};
        drawView();
        byId("effect").focus();
      },
    },
    EFFECTS.map(([value, text]) => el("option", { value, selected: value === state.effect }, text)),
  );
  view.append(
    el("label", { class: "inline" }, "Outcome ", pick),
    ...table(
      "calls",
      asked(list.length),
      [
        ["Record", (one) => one.record, (one) => toRecord(one.record)],
        ["Time", (one) => one.time, (one) => time(one.time)],
        [
          "Who",
          (one) => one.holder,
          (one) =>
            one.node < 0
              ? cut(one.holder ? called(one.holder) : "no authentic chain", 30)
              : toNode(nodes[one.node], short(called(one.holder), 30)),
        ],
        ["Asked", (one) => one.what, (one) => cut(one.what, 30)],
        ["Outcome", (one) => one.effect, outcome],
        [
          "Reason",
          (one) => one.reason,
          (one) => (one.effect === "ALLOW" ? "" : `${one.reason}${one.hop === null ? "" : ` at hop ${one.hop}`}`),
        ],
        ["Detail", (one) => one.detail, (one) => cut(one.detail, 90)],
        ["Rules", (one) => one.rules.join(), (one) => cut(one.rules.join(", "), 40)],
      ],
      list,
    ).filter(Boolean),
  );
}

function drawApprovals(view) {
  const list = seen(DATA.approvals).filter((one) => !state.task || one.task === state.task);
  const before = DATA.letgo.requests;
  if (before)
    view.append(
      el("p", { class: "muted" }, `${count(before, "other request")} and what was said of them: counted, not listed.`),
    );
  else if (!list.length) {
    view.append(el("p", { class: "empty" }, "Nothing was put before people."));
    return;
  }
  view.append(
    ...list.map((one) =>
      el(
        "article",
        { class: "card" },
        el(
          "h3",
          {},
          `${one.what}${one.amount ? ` · ${one.amount}` : ""}`,
          el("span", { class: `tag ${one.state}` }, one.uses.length ? "used" : one.state),
        ),
        el(
          "p",
          { class: "muted" },
          `asked by ${called(one.who)}${one.task ? ` for ${one.task}` : ""}, ${when(one.time)}; needs ${one.demands.join(" and ")} · `,
          toRecord(one.record),
        ),
        el(
          "ul",
          {},
          one.words.length
            ? seen(one.words).map((word) =>
                el(
                  "li",
                  {},
                  el("strong", {}, called(word.who)),
                  ` said ${word.said}${word.emergency ? " in an emergency" : ""}, ${when(word.time)}`,
                  word.why ? `: ${word.why}` : "",
                  " · ",
                  toRecord(word.record),
                ),
              )
            : el("li", {}, "nobody has spoken"),
          seen(one.uses).map((use) => el("li", {}, `used ${when(use.time)} · `, toRecord(use.record))),
        ),
      ),
    ),
  );
}

function drawFindings(view) {
  const list = DATA.findings;
  if (!list.length) {
    view.append(el("p", { class: "empty" }, "Nothing stands out."));
    return;
  }
  const more = DATA.more_findings ? ` (${DATA.more_findings.toLocaleString("en")} more: chain graph review)` : "";
  view.append(
    ...table(
      "findings",
      `${count(list.length, "finding")}${more}, as of the report. Each is a fact with its record; whether it is wrong is for you to say.`,
      [
        ["Kind", (one) => one.kind, (one) => el("span", { class: "tag" }, one.kind)],
        ["What", (one) => one.text, (one) => cut(one.text, 140)],
        ["Where", (one) => one.node, (one) => (one.node < 0 ? "" : toNode(nodes[one.node]))],
        ["Record", (one) => one.record, (one) => toRecord(one.record)],
      ],
      list,
    ).filter(Boolean),
  );
}
