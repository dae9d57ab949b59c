// Files of what is seen. The law of this part: a file is written by the browser's own serializers, never by joining text.

function save(name, type, text) {
  const link = el("a", { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`${name} saved`);
}

const KEPT = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "text-anchor",
];

// A graph that looks the same elsewhere: what the style sheet gave stands in each element.
function standalone(graph) {
  const copy = graph.cloneNode(true);
  const [from, to] = [graph.querySelectorAll("*"), copy.querySelectorAll("*")];
  from.forEach((one, at) => {
    const style = getComputedStyle(one);
    for (const name of KEPT) to[at].setAttribute(name, style.getPropertyValue(name));
    for (const name of ["class", "tabindex", "data-node"]) to[at].removeAttribute(name);
  });
  const ground = draw("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor });
  copy.prepend(ground);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}

function buildSaves() {
  byId("save-json").addEventListener("click", () =>
    save("chain-report.json", "application/json", JSON.stringify(DATA, null, 1)),
  );
  byId("save-svg").addEventListener("click", () => {
    const graph = byId("graph");
    if (graph) save("chain-report.svg", "image/svg+xml", standalone(graph));
  });
  byId("print").addEventListener("click", () => window.print());
}
