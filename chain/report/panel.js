// One delegation, whole: what it is, what it may do, who narrowed it, what was done with it, what falls with it.

const LISTED = 8;

const toRecord = (number) =>
  el("button", { type: "button", class: "link", onclick: () => showRecord(number) }, `record ${number}`);

function toNode(node, text) {
  return el(
    "button",
    { type: "button", class: "link", onclick: () => select(node, { focus: true }), title: node.who.name },
    text || short(node.name, 40),
  );
}

function part(title, ...kids) {
  return el("section", {}, el("h3", {}, title), kids);
}

function facts(pairs) {
  return el(
    "dl",
    {},
    pairs
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

function standing(node) {
  const now = turn(node, state.at);
  if (!now) return el("p", {}, `Not made yet at ${when(state.at)}.`);
  const [since, name, record, cause, of] = now;
  if (name === "live")
    return el("p", {}, badge("live"), ` until ${when(node.expires)}, for ${span(node.expires - state.at)} more`);
  const where = of && of !== node.id && nodes.find((one) => one.id === of);
  return el(
    "div",
    {},
    el("p", {}, badge(name), ` since ${when(since)}`),
    el("p", { class: "cause" }, cause, where ? [", at ", toNode(where)] : "", record ? [" · ", toRecord(record)] : ""),
  );
}

function narrowings(node) {
  return el(
    "ol",
    { class: "chain" },
    chain(node).map((hop) =>
      el(
        "li",
        { class: hop === node ? "here" : "" },
        glyph(status(hop) || "expired"),
        " ",
        hop === node ? el("strong", {}, short(hop.name, 40)) : toNode(hop),
        el(
          "span",
          { class: "muted" },
          hop.above ? ` from ${called(hop.issuer)} · ` : ` issued by ${short(hop.issuer, 40)} · `,
        ),
        toRecord(hop.record),
        el(
          "ul",
          {},
          hop.above === null
            ? el(
                "li",
                {},
                hop.hop
                  ? "the delegation above it is not in this record"
                  : `granted ${count(hop.gives.tools.length, "tool")}`,
              )
            : hop.lost.length
              ? hop.lost.map((one) => el("li", {}, ticked(one)))
              : el("li", {}, "narrowed nothing"),
        ),
      ),
    ),
  );
}

function eventLine(event) {
  const good = event.effect === "ALLOW";
  const kind = good ? "" : event.waits ? "waits" : "bad";
  return el(
    "li",
    { class: kind },
    el("span", { class: "mark", "aria-hidden": "true" }, good ? "✓" : event.waits ? "‖" : "✕"),
    ` ${event.what}`,
    good ? " allowed" : event.waits ? " waited for people" : ` refused: ${event.reason}`,
    el("span", { class: "muted" }, ` ${when(event.time)} · `),
    toRecord(event.record),
    event.detail && !good ? el("div", { class: "muted" }, ticked(event.detail)) : null,
  );
}

function happened(node) {
  const all = seen(node.events);
  const rest = node.calls - node.events.filter((event) => event.effect === "ALLOW").length;
  if (!all.length && rest <= 0) return el("p", { class: "muted" }, "Nothing was asked under it.");
  return [
    el("ul", { class: "events" }, all.slice(-LISTED).reverse().map(eventLine)),
    all.length > LISTED
      ? el(
          "button",
          {
            type: "button",
            class: "link",
            onclick: () => {
              byId("query").value = node.id;
              state.query = node.id.toLowerCase();
              go("calls");
            },
          },
          `all ${all.length}`,
        )
      : null,
    rest > 0 ? el("p", { class: "muted" }, `${count(rest, "earlier allowed call")} counted, not listed.`) : null,
  ];
}

function approved(node) {
  const ids = new Set(node.events.map((event) => event.approval).filter(Boolean));
  const found = seen(DATA.approvals).filter((one) => ids.has(one.id));
  return found.length
    ? part(
        "Approvals",
        el(
          "ul",
          {},
          found.map((one) =>
            el(
              "li",
              {},
              `${one.what} ${one.amount}: `,
              one.words.length
                ? one.words.map((word) => `${called(word.who)} said ${word.said}`).join(", ")
                : "nobody spoke yet",
              one.uses.length ? ", used" : "",
              " · ",
              toRecord(one.record),
            ),
          ),
        ),
      )
    : null;
}

function fallen(node) {
  const all = falls(node);
  if (!all.length) return el("p", { class: "muted" }, "Nothing: it does not stand any more.");
  const agents = [...new Set(all.map((one) => one.who.name))];
  const what = [...new Set(all.flatMap((one) => one.gives.tools))];
  return [
    el(
      "p",
      {},
      `${count(all.length, "delegation")} of ${count(agents.length, "agent")}: `,
      agents.slice(0, LISTED).map(called).join(", "),
      agents.length > LISTED ? ` and ${agents.length - LISTED} more` : "",
    ),
    el(
      "p",
      { class: "muted" },
      `Tools: ${what.slice(0, LISTED).join(", ")}${what.length > LISTED ? ` and ${what.length - LISTED} more` : ""}`,
    ),
  ];
}

function command(text) {
  const copy = el(
    "button",
    {
      type: "button",
      class: "small",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          say("copied");
          copy.textContent = "Copied";
        } catch {
          say("this browser does not let the page copy");
        }
      },
    },
    "Copy",
  );
  return el("div", { class: "command" }, el("code", {}, text), copy);
}

function commands(node) {
  const made = [command(`chain audit path ${quoted(node.id)} ${DATA.origin.options}`)];
  if (DATA.origin.live && falls(node).includes(node))
    made.push(command(`chain revoke ${quoted(node.id)} --dry-run ${DATA.origin.options}`));
  return made;
}

function routed() {
  if (!state.from) return null;
  const to = state.selected;
  if (!to || to === state.from)
    return part("Path", el("p", {}, "From ", toNode(state.from), ". Choose where it leads."), leave());
  const found = route(state.from, to);
  return part(
    "Path",
    found
      ? el(
          "ol",
          { class: "route" },
          found.map((one, at) =>
            el(
              "li",
              {},
              at ? (one.above === found[at - 1] ? "↓ " : "↑ ") : "",
              toNode(one),
              el("span", { class: "muted" }, ` hop ${one.hop}`),
            ),
          ),
        )
      : el("p", {}, "There is none: ", toNode(state.from), " comes from another root."),
    leave(),
  );
}

const leave = () =>
  el(
    "button",
    {
      type: "button",
      class: "small",
      onclick: () => {
        state.from = null;
        update();
      },
    },
    "End path",
  );

function legend() {
  return el(
    "ul",
    { class: "legend" },
    [
      ["live", "stands, and may be used"],
      ["suspended", "stopped for now, may go on"],
      ["revoked", "ended by somebody, for good"],
      ["expired", "its time is over"],
    ].map(([name, text]) => el("li", {}, badge(name), ` ${text}`)),
    el("li", {}, el("span", { class: "bad" }, "✕"), " something was asked here and refused"),
    el("li", {}, el("span", { class: "muted" }, "3 ✓"), " calls allowed here"),
  );
}

function drawPanel() {
  const panel = byId("panel");
  const node = state.selected;
  panel.replaceChildren();
  if (!node) {
    panel.append(
      el("h2", {}, "Nothing selected"),
      el(
        "p",
        { class: "muted" },
        "Choose a delegation to see the path from its root, what it may do, who narrowed it, what was done with it, and what would fall with it.",
      ),
      legend(),
    );
    if (state.from) panel.append(routed());
    return;
  }
  const who = node.who;
  panel.append(
    fill(el("div", { class: "head" }), {}, [
      el("h2", {}, short(node.name, 48)),
      el("button", { type: "button", class: "small", "aria-label": "Close", onclick: () => select(null, {}) }, "✕"),
    ]),
    standing(node),
    el(
      "div",
      { class: "actions" },
      el(
        "button",
        {
          type: "button",
          "aria-pressed": state.scope === node ? "true" : "false",
          onclick: () => {
            state.scope = state.scope === node ? null : node;
            go("graph");
          },
        },
        state.scope === node ? "Show all again" : "Only its lineage",
      ),
      el(
        "button",
        {
          type: "button",
          onclick: () => {
            state.from = node;
            say(`path from ${node.name}: choose where it leads`);
            update();
          },
        },
        "Path from here",
      ),
    ),
  );
  const sections = [
    routed(),
    part(
      "May use",
      el(
        "ul",
        { class: "plain" },
        node.gives.lines.map((line) => el("li", {}, ticked(line))),
      ),
    ),
    part("Root to here: who narrowed what", narrowings(node)),
    part("Calls and refusals", happened(node)),
    approved(node),
    part("If it were revoked now, this falls", fallen(node)),
    part(
      "Facts",
      facts([
        ["holder", who.name],
        ["key", who.key],
        ["kind", who.kind || "enrolled as nobody"],
        ["owner", who.owner || node.owner],
        ["on behalf of", node.sub],
        ["task", node.task],
        ["hop", String(node.hop)],
        ["made", when(node.made)],
        ["expires", when(node.expires)],
        ["id", node.id],
        ["record", toRecord(node.record)],
      ]),
    ),
    part("The same on the command line", commands(node)),
  ];
  panel.append(...sections.filter(Boolean));
}
