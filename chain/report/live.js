// The page stays live. The law of this part: the credential stands in memory and in a header and nowhere else; what is
// seen is said to be live, late or lost; and whoever reads is not disturbed: choice, filters, scroll and focus stay.

const QUIET = 40000; // milliseconds of silence after which a stream is given up; its heartbeat comes every 15 s
const SETTLE = 150; // between a record and the asking for the whole, so that what comes together is asked for once
const APART = 1000; // between two askings
const LONGEST = 30000; // between two tries
const link = { secret: "", turn: 0, seen: 0, tag: "", asked: 0, waiting: 0, news: 0, refused: 0, stop: null, tries: 0 };

class Refusal extends Error {} // trying again is of no use
class Busy extends Error {}

const STANDS = {
  out: ["○", "Not signed in"],
  opening: ["…", "Asking"],
  reading: ["…", "The server reads the record"],
  live: ["●", "Live"],
  late: ["◐", "Live, and behind"],
  lost: ["✕", "Lost"],
  over: ["✕", "Stopped"],
};

function stand(name, more) {
  const [sign, word] = STANDS[name];
  const box = byId("link");
  if (box.dataset.state !== name) say(`${word}${more ? `: ${more}` : ""}`);
  box.dataset.state = name;
  box.replaceChildren(
    el("span", { "aria-hidden": "true" }, sign),
    ` ${word}`,
    more ? el("span", { class: "muted" }, ` · ${more}`) : "",
  );
}

const pause = (milliseconds) =>
  new Promise((done) => {
    setTimeout(done, milliseconds);
  });

async function ask(path, signal, more) {
  return fetch(path, {
    headers: { Authorization: `Bearer ${link.secret}`, ...more },
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal,
  });
}

// What an answer that is none says, in words; what may be otherwise in a while is no refusal.
async function refusal(answer) {
  if (answer.status === 401) return new Refusal("this credential is not known here, or has ended");
  if (answer.status === 403) return new Refusal("this caller may not see the record: an auditor or operator may");
  if (answer.status === 429) return new Busy("the server has no room for one more of this caller's");
  if (answer.status >= 500) return new Busy(`the server answered ${answer.status}`);
  const told = await answer.json().catch(() => ({}));
  return new Refusal(told.error_description || `the server answered ${answer.status}`);
}

// What has the focus is drawn anew, and gets it back.
function focused() {
  const one = document.activeElement;
  if (!one || one === document.body) return () => {};
  if (one.id) return () => byId(one.id)?.focus({ preventScroll: true });
  const around = one.closest("[id]");
  if (!around) return () => {};
  const [id, kinds] = [around.id, "button, summary, a, [data-node]"];
  const at = [...around.querySelectorAll(kinds)].indexOf(one);
  return () => byId(id)?.querySelectorAll(kinds)[at]?.focus({ preventScroll: true });
}

function renew(data) {
  if (!DATA) {
    document.body.dataset.live = "in";
    start(data);
    return;
  }
  const latest = state.at >= DATA.at;
  const scrolled = () => ["#panel", "#view .scroll"].map((where) => document.querySelector(where));
  const before = scrolled().map((one) => [one?.scrollLeft, one?.scrollTop]);
  const [x, y, back] = [window.scrollX, window.scrollY, focused()];
  load(data);
  title();
  const place = latest
    ? moments.length - 1
    : Math.max(
        0,
        moments.findLastIndex((time) => time <= state.at),
      );
  setMoment(place);
  scrolled().forEach((one, at) => {
    if (one) [one.scrollLeft, one.scrollTop] = before[at];
  });
  window.scrollTo(x, y);
  back();
}

// The time goes on where nothing happens: what is said to stand for so long is said anew, where that costs nothing.
function tick(time) {
  if (time <= DATA.at || state.at < DATA.at || playing || nodes.length > 3000) return;
  renew({ ...DATA, at: time, made: time });
}

async function pull(signal) {
  link.asked = Date.now();
  const answer = await ask("ui/data", signal, link.tag ? { "If-None-Match": link.tag } : {});
  if (answer.status === 200) {
    link.tag = answer.headers.get("ETag");
    renew(await answer.json());
    announce();
  } else if (answer.status !== 304) throw await refusal(answer);
  if (DATA.revision >= link.seen) stand("live", `record ${DATA.revision}`);
  else {
    stand("late", `record ${DATA.revision} of ${link.seen}`);
    later(signal);
  }
}

function announce() {
  if (link.refused) say(`${count(link.news, "new record")}, ${link.refused} refused`);
  link.news = link.refused = 0;
}

// Asks soon, and not more often than once in APART; a failure ends the stream, which is then tried again.
function later(signal) {
  if (link.waiting) return;
  link.waiting = setTimeout(
    async () => {
      link.waiting = 0;
      if (signal.aborted) return;
      try {
        await pull(signal);
      } catch (error) {
        link.stop?.abort(error);
      }
    },
    Math.max(SETTLE, link.asked + APART - Date.now()),
  );
}

function arrived(message, signal) {
  const told = JSON.parse(message.data);
  if (message.event === "end")
    throw told.error === "invalid_token"
      ? new Refusal("this credential has ended")
      : new Error("the server ended the stream");
  if (message.event === "beat") {
    tick(told.time);
    if (told.revision <= DATA.revision) stand("live", `record ${DATA.revision}`);
  } else {
    link.seen = Number(message.id);
    link.news += 1;
    if (told.kind === "refused" || (told.kind === "decided" && told.body.effect === "DENY")) link.refused += 1;
  }
  later(signal);
}

// The lines of an event become one message (HTML s9.2.6); a comment is none.
function parsed(text) {
  const message = { event: "", data: "", id: "" };
  for (const line of text.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) message[line.slice(0, at)] = line.slice(at + 2);
  }
  return message;
}

async function stream(signal) {
  const answer = await ask(`ui/events?after=${link.seen}`, signal);
  if (answer.status === 409)
    throw new Refusal("the ledger there is not the one that is shown here, or has lost its end; load this page anew");
  if (answer.status !== 200) throw await refusal(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let [kept, silence] = ["", 0];
  const wake = () => {
    clearTimeout(silence);
    silence = setTimeout(() => link.stop?.abort(new Error("nothing was heard for too long")), QUIET);
  };
  try {
    for (;;) {
      wake();
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream ended");
      const parts = (kept + value).split("\n\n");
      kept = parts.pop();
      for (const text of parts) arrived(parsed(text), signal);
      link.tries = 0;
    }
  } finally {
    clearTimeout(silence);
  }
}

async function follow() {
  link.turn += 1;
  const turn = link.turn;
  link.tries = 0;
  stand("opening");
  while (turn === link.turn) {
    link.stop = new AbortController();
    const { signal } = link.stop;
    try {
      await pull(signal);
      link.seen = Math.max(link.seen, DATA.revision);
      await stream(signal);
    } catch (caught) {
      const error =
        signal.aborted && signal.reason instanceof Error && signal.reason.name !== "AbortError"
          ? signal.reason
          : caught;
      link.stop.abort();
      if (turn !== link.turn) return;
      if (error instanceof Refusal) {
        leaveWith(error.message);
        return;
      }
      link.tries += 1;
      const wait = Math.min(LONGEST, 500 * 2 ** link.tries) * (0.75 + Math.random() / 2);
      stand(
        !DATA && error instanceof Busy ? "reading" : "lost",
        `${error instanceof TypeError ? "the server does not answer" : error.message}; trying again in ${Math.ceil(wait / 1000)} s`,
      );
      await pause(wait);
    }
  }
}

// What was seen stays to be read, and is said to be old.
function leaveWith(said) {
  link.turn += 1;
  Object.assign(link, { secret: "", tag: "", seen: 0 });
  link.stop?.abort();
  stand(DATA ? "over" : "out", said);
  byId("signin").hidden = false;
  byId("signout").hidden = true;
}

// A record by itself: whether it stands under a signed checkpoint is worked out here (RFC 9162 s2.1.3.2).
async function provenRecord(number) {
  const answer = await ask(`ui/record?revision=${number}`).catch(() => null);
  if (!answer?.ok)
    return { line: null, said: answer ? (await refusal(answer)).message : "The server does not answer." };
  const told = await answer.json();
  if (!told.note) return { line: told.record, said: "Not proven: this authority signs no checkpoints." };
  const point = checkpoint(told);
  const stands = await included(told.record, hashes(told.path), number - 1, point);
  const held = await signed(point);
  const verdict =
    !stands || held === false
      ? "NOT what was signed: this record does not stand under the checkpoint."
      : `Stands in the log that was signed, record ${number} of ${point.size}: verified by this browser${held === null ? ", which cannot check the signature" : ""}. Verifier key: ${told.key}`;
  return { line: told.record, said: verdict };
}

async function included(record, path, index, point) {
  let [at, last, hash] = [index, point.size - 1, await sha(LEAF, new TextEncoder().encode(record))];
  if (at > last) return false;
  for (const one of path) {
    if (last === 0) return false;
    if (at % 2 || at === last) {
      hash = await sha(NODE, one, hash);
      while (at % 2 === 0 && at !== 0) {
        at = Math.floor(at / 2);
        last = Math.floor(last / 2);
      }
    } else hash = await sha(NODE, hash, one);
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(hash, point.root);
}

function open() {
  document.title = "Chain · live";
  document.body.dataset.live = "out";
  recordOf = provenRecord;
  const secret = el("input", {
    id: "secret",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "secret-note",
  });
  const signin = el(
    "form",
    { id: "signin", class: "signin" },
    el("label", { for: "secret" }, "Credential of an auditor or operator"),
    secret,
    el("button", { type: "submit" }, "Show the record"),
    el(
      "p",
      { id: "secret-note", class: "muted" },
      "A bearer secret, a JWT-SVID or an OpenID token, as this service is configured. It stays in the memory of this page until it is closed or left.",
    ),
  );
  const signout = el(
    "button",
    {
      type: "button",
      id: "signout",
      hidden: true,
      onclick: () => {
        leaveWith("signed out");
        location.reload();
      },
    },
    "Sign out",
  );
  document
    .querySelector(".top")
    .after(
      el(
        "div",
        { class: "livebar" },
        el("p", { id: "link", "data-state": "out" }),
        el("span", { class: "spring" }),
        signout,
      ),
      signin,
    );
  signin.addEventListener("submit", (event) => {
    event.preventDefault();
    link.secret = secret.value.trim();
    secret.value = "";
    if (!link.secret) return;
    signin.hidden = true;
    signout.hidden = false;
    follow();
  });
  stand("out");
  secret.focus();
}

open();
