/* The start page: signs in with a link or a pasted token, shows figures that the role may read, and runs queries. */

import { counts, examples, liveQuery } from "./queries.js";
import { authorization, signIn, signOut, token, whoAmI } from "./sign-in.js";

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; text is never parsed as HTML. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* ---------------------------------------------------------------------------------------------------- signing in -- */

const visitor = { role: "visitor", graphiql: false };
let me = visitor;

const role = () => me.role;

async function ask(query, variables) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization() },
    body: JSON.stringify({ query, variables }),
  });
  return await response.json();
}

/* -------------------------------------------------------------------------------------------------- live numbers -- */

const figures = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

function table(heads, rows) {
  const figure = (index) => (heads[index].startsWith("#") ? { class: "figure" } : {});
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...heads.map((head, index) => make("th", figure(index), head.replace("#", ""))))),
    make(
      "tbody",
      {},
      ...rows.map((cells) =>
        make(
          "tr",
          {},
          ...cells.map((cell, index) =>
            cell instanceof Element ? cell : make("td", figure(index), String(cell ?? "")),
          ),
        ),
      ),
    ),
  );
}

function panel(title, content, wide = false) {
  return make("div", { class: wide ? "panel wide" : "panel" }, make("h3", {}, title), content);
}

function engagedTime({ days, hours, minutes }) {
  const all = (days ?? 0) * 24 + (hours ?? 0);
  return all > 0 ? `${figures.format(all)} h` : `${minutes ?? 0} min`;
}

/** The reasons that raise a score, and those that lower it, each in the order of their size. */
function explanation(reasons) {
  const list = (chosen) =>
    chosen.map(({ item, title, contribution }) => `${title ?? item} ${contribution.toFixed(2)}`).join(", ");
  const raising = list(reasons.filter(({ contribution }) => contribution > 0));
  const lowering = list(reasons.filter(({ contribution }) => contribution < 0));
  const without = reasons.filter(({ contribution }) => contribution === 0).map(({ title }) => title);
  return [raising && `because of ${raising}`, lowering && `despite ${lowering}`, ...without].filter(Boolean).join("; ");
}

function chart(points) {
  const most = Math.max(1, ...points.map(({ eventCount }) => Number(eventCount ?? 0)));
  const step = 600 / Math.max(1, points.length - 1);
  const path = (key, isDrawn = () => true) =>
    points
      .map((point, index) => [index * step, isDrawn(index) ? point[key] : null])
      .filter(([, value]) => value !== null)
      .map(
        ([x, value], index) =>
          `${index === 0 ? "M" : "L"}${x.toFixed(1)},${(136 - (Number(value) / most) * 130).toFixed(1)}`,
      )
      .join("");
  const line = path("eventCount");
  const isCut = (index) => points[index]?.isComplete === false;
  const drawing = make(
    "svg",
    {
      class: "chart",
      viewBox: "0 0 600 140",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": "Page views a day",
    },
    make("path", { class: "area", d: line === "" ? "" : `${line}L600,140L0,140Z` }),
    make("path", { class: "mean", d: path("runningAverage") }),
    make("path", { class: "line", d: path("eventCount", (index) => !isCut(index)) }),
    make("path", { class: "line cut", d: path("eventCount", (index) => isCut(index) || isCut(index + 1)) }),
  );
  const label = (point) => (point === undefined ? "" : day.format(new Date(point.bucketStart)));
  return make(
    "div",
    {},
    drawing,
    make(
      "div",
      { class: "axis" },
      make("span", {}, label(points[0])),
      make("span", {}, `most: ${figures.format(most)} a day; dashed: average of 7 days; dotted: today so far`),
      make("span", {}, label(points.at(-1))),
    ),
  );
}

const empty = (text) => make("p", {}, text);

const show = {
  recommendForMe({ nodes }) {
    const rows = nodes.map(({ rank, item, title, score, reasons }) => [
      rank,
      make("td", {}, title ?? item, make("small", {}, explanation(reasons ?? []))),
      score.toFixed(2),
    ]);
    const basis = ["popularity", "newest"].includes(nodes[0]?.basis) ? "Popular items" : "Recommended for you";
    return panel(
      basis,
      rows.length === 0 ? empty("No further recommendations.") : table(["", "course", "#score"], rows),
      true,
    );
  },
  trackTaughtCourses({ nodes }) {
    const rows = nodes.map(({ course, title, role, endedAt }) => [
      title ?? course,
      role,
      endedAt === null ? "" : moment.format(new Date(endedAt)),
    ]);
    return panel(
      "Courses that you teach",
      rows.length === 0 ? empty("You teach no course now.") : table(["course", "role", "until"], rows),
    );
  },
  analyticsTrend({ nodes }) {
    return panel(
      "Page views, last 28 days",
      nodes.length === 0 ? empty("No page has been viewed yet.") : chart(nodes),
      true,
    );
  },
  analyticsPopularItems({ nodes }) {
    const rows = nodes.map(({ rank, item, title, personCount, eventCount, engaged }) => [
      rank,
      title ?? item,
      figures.format(personCount),
      figures.format(eventCount),
      engagedTime(engaged ?? {}),
    ]);
    return panel(
      "Popular courses, last 28 days",
      rows.length === 0
        ? empty("Not enough people yet.")
        : table(["", "course", "#people", "#events", "#engaged"], rows),
    );
  },
  monitorRuns({ nodes }) {
    const rows = nodes.map(({ task, startedAt, outcome, rowCount, duration }) => [
      moment.format(new Date(startedAt)),
      task,
      make("td", { class: outcome === "ok" ? "good" : outcome === "failed" ? "bad" : "" }, outcome),
      typeof rowCount === "number" || typeof rowCount === "string" ? figures.format(rowCount) : "",
      duration === null ? "" : `${((duration.minutes ?? 0) * 60 + (duration.seconds ?? 0)).toFixed(1)} s`,
    ]);
    return panel(
      "Latest runs of the worker",
      rows.length === 0 ? empty("No task has run yet.") : table(["at", "task", "outcome", "#rows", "#took"], rows),
    );
  },
};

async function refreshNumbers() {
  const lists = counts[role()] ?? [];
  if (lists.length === 0) return;
  const { data, errors } = await ask(liveQuery(role()));
  if (!data) {
    complain(errors ?? []);
    $("live").hidden = true;
    return;
  }
  $("numbers").replaceChildren(
    ...lists
      .filter(([, field]) => data[`${field}Count`])
      .map(([label, field]) =>
        make(
          "div",
          { class: "number" },
          make("b", {}, figures.format(data[`${field}Count`].totalCount)),
          make("span", {}, label),
        ),
      ),
  );
  const panels = Object.entries(show).filter(([field]) => data[field]);
  $("panels").replaceChildren(...panels.map(([field, draw]) => draw(data[field])));
  $("live").hidden = false;
}

async function refreshHealth() {
  const badge = $("health");
  try {
    const { status, queue, freshness } = await (await fetch("/healthz", { headers: authorization() })).json();
    badge.className = `badge ${status === "ok" ? "good" : "bad"}`;
    const waiting = queue?.waiting ? `, ${queue.waiting} jobs waiting` : "";
    const stale = freshness?.stalePeople ? `, ${figures.format(freshness.stalePeople)} people to refresh` : "";
    badge.textContent = status === "ok" ? `healthy${waiting}${stale}` : "database unavailable";
  } catch {
    badge.className = "badge bad";
    badge.textContent = "no answer";
  }
}

/* ------------------------------------------------------------------------------------------------------- queries -- */

function choose(button, query) {
  for (const other of $("examples").children) other.setAttribute("aria-pressed", String(other === button));
  $("query").value = query;
}

function offerExamples() {
  const offered = Object.entries({ ...examples[role()], ...examples.visitor });
  $("examples").replaceChildren(
    ...offered.map(([label, query]) => {
      const button = make("button", { type: "button", "aria-pressed": "false" }, label);
      button.addEventListener("click", () => choose(button, query));
      return button;
    }),
  );
  choose($("examples").firstElementChild, offered[0][1]);
}

async function run() {
  const begin = performance.now();
  try {
    $("answer").textContent = JSON.stringify(await ask($("query").value), null, 2);
  } catch (error) {
    $("answer").textContent = String(error);
  }
  $("took").textContent = `Answered in ${Math.round(performance.now() - begin)} ms.`;
}

/* --------------------------------------------------------------------------------------------------------- the page -- */

function complain(errors) {
  $("who").textContent = errors.map(({ message, extensions }) => `${message}. ${extensions?.hint ?? ""}`).join(" ");
  $("who").classList.add("bad");
}

async function enter() {
  const { errors, ...found } = await whoAmI();
  me = errors === undefined ? found : visitor;
  $("who").classList.remove("bad");
  $("who").textContent =
    me.role === "visitor"
      ? "You are a visitor: you may send events, and read nothing."
      : `You are signed in as ${me.person ?? "unknown"}, role ${me.role}.`;
  if (errors !== undefined) complain(errors);
  $("sign-out").hidden = token() === "";
  $("graphiql").hidden = !me.graphiql && errors === undefined;
  $("live").hidden = true;
  offerExamples();
  await refreshNumbers();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = $("token")
    .value.trim()
    .replace(/^.*#token=|^\w+: |^Bearer /, "");
  if (value === "") return;
  signIn(value);
  $("token").value = "";
  enter();
});
$("sign-out").addEventListener("click", () => {
  signOut();
  enter();
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});

enter();
refreshHealth();
setInterval(() => {
  if (document.hidden) return;
  refreshHealth();
  refreshNumbers();
}, 10_000);
