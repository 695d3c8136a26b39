// The table of episodes (sort, filter, search), and timeline, transcript and compressions of the open episode.
"use strict";

const COLUMNS = [
  ["episode", (e) => e.id], ["user", (e) => e.user], ["seconds", (e) => e.frames / e.fps],
  ["utterances", (e) => e.row?.said], ["reference turns", (e) => e.row?.reference], ["matched", (e) => e.row?.good],
  ["event F1 (2 s)", (e) => e.row?.f1], ["all steps right", (e) => e.row?.jga], ["peak tokens", (e) => e.row?.peak], ["compressions", (e) => e.row?.compressions],
];
const WHOLE = new Set(["utterances", "reference turns", "matched", "peak tokens", "compressions"]);

function episodeTable(host, episodes, open) {
  let order = { column: 0, down: false };
  const search = el("input", { type: "search", id: "search", placeholder: "text in an id, goal or turn", oninput: () => paint() });
  const users = [...new Set(episodes.map((e) => e.user))].sort();
  const user = el("select", { id: "user", onchange: () => paint() }, el("option", { value: "" }, "all"), ...users.map((u) => el("option", { value: u }, u || "(none)")));
  const only = el("select", { id: "only", onchange: () => paint() },
    ...[["", "all"], ["failed", "failed"], ["missed", "with missed turns"], ["redundant", "with false alarms"], ["states", "with wrong states"]].map(([v, t]) => el("option", { value: v }, t)));
  const count = el("output", { class: "soft small", id: "shown" });
  const head = el("tr"), body = el("tbody");
  COLUMNS.forEach(([name], k) => {
    const button = el("button", { type: "button", class: "sort", onclick: () => { order = { column: k, down: order.column === k ? !order.down : k > 1 }; paint(); } }, name);
    head.append(el("th", { scope: "col" }, button));
  });
  host.append(
    el("div", { class: "bar" }, el("label", { for: "search" }, "search"), search, el("label", { for: "user" }, "user"), user, el("label", { for: "only" }, "show"), only, count),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "episodes" }, el("table", { id: "episodes" }, el("thead", {}, head), body)));

  const holds = {
    "": () => true, failed: (e) => e.error, missed: (e) => e.references?.some((r) => r[2] === "missed"),
    redundant: (e) => e.predictions?.some((p) => p[4] === "redundant"), states: (e) => e.row && e.row.jga !== null && e.row.jga < 1,
  };
  const texts = new Map();
  const said = (e) => {
    if (!texts.has(e)) texts.set(e, [e.id, e.goal, e.error ?? "", ...[...(e.references ?? []), ...(e.predictions ?? []), ...(e.users ?? [])].map((t) => t[1])].join("\n").toLowerCase());
    return texts.get(e);
  };

  function paint() {
    const wanted = search.value.toLowerCase();
    const value = COLUMNS[order.column][1];
    const rows = episodes.filter((e) => (!user.value || e.user === user.value) && holds[only.value](e) && (!wanted || said(e).includes(wanted)));
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      // undefined values are last in both sort orders
      if (x === null || x === undefined || y === null || y === undefined) return (x ?? null) === (y ?? null) ? 0 : x === null || x === undefined ? 1 : -1;
      return (order.down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0);
    });
    [...head.children].forEach((th, k) => th.setAttribute("aria-sort", k === order.column ? (order.down ? "descending" : "ascending") : "none"));
    body.replaceChildren(...rows.map((e) => el("tr", {},
      el("td", {}, el("a", { href: `#e=${encodeURIComponent(e.id)}`, onclick: (event) => { event.preventDefault(); open(e.id); } }, e.id),
        e.error ? el("span", { class: "missed small" }, ` failed: ${e.error}`) : null),
      ...COLUMNS.slice(1).map(([name, of]) => { const v = of(e); return el("td", {}, typeof v === "string" ? v : name === "seconds" ? v.toFixed(0) : v === null || v === undefined ? "–" : WHOLE.has(name) ? v.toLocaleString("en") : number(v)); }))));
    count.textContent = `${rows.length} of ${episodes.length}`;
  }
  paint();
}

// reference, predicted and user turns by time, a pair on one row at the time of its reference
function transcript(episode, go) {
  const by = new Map(episode.predictions.filter((p) => p[2] !== null).map((p) => [p[2], p]));
  const rows = episode.references.map(([frame, text, kind], r) => [frame, kind, text, by.get(r)]);
  for (const p of episode.predictions) if (p[2] === null) rows.push([p[0], "redundant", "", p]);
  for (const [frame, text] of episode.users) rows.push([frame + 0.5, "user", text, null]);
  rows.sort((a, b) => a[0] - b[0]);
  const head = ["time", "", "reference", "predicted", "cosine", "delay"].map((name) => el("th", { scope: "col", class: name === "reference" || name === "predicted" ? "text" : null }, name || el("span", { class: "hidden" }, "match")));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "transcript" }, el("table", { class: "transcript" }, el("thead", {}, el("tr", {}, ...head)),
    el("tbody", {}, ...rows.map(([frame, kind, text, p]) => el("tr", {},
      el("td", {}, el("button", { type: "button", class: "link", onclick: () => go(Math.floor(frame) / episode.fps) }, clock(Math.floor(frame) / episode.fps))),
      el("td", { class: kind }, KINDS[kind] ?? kind), el("td", { class: "text" }, text), el("td", { class: "text" }, p ? p[1] + (p[5] ? " [cut]" : "") : ""),
      el("td", {}, p && p[3] !== null ? p[3].toFixed(2) : ""), el("td", {}, p && p[2] !== null ? `${(p[0] - frame) / episode.fps >= 0 ? "+" : ""}${((p[0] - frame) / episode.fps).toFixed(1)} s` : ""))))));
}

function compressions(episode, go) {
  return el("div", {}, ...episode.compressions.map(([frame, before, after, text]) => el("details", { class: "squeezed" },
    el("summary", {}, `${clock(frame / episode.fps)}: ${before} to ${after} tokens`),
    el("button", { type: "button", class: "link", onclick: () => go(frame / episode.fps) }, "show this moment"),
    text ? el("pre", {}, text) : el("p", { class: "soft" }, "Tokens were removed; no text was written."))));
}

// why a state that the model gave was ignored
function refusalReason(episode, [frame, step, wanted]) {
  const at = clock(frame / episode.fps), index = episode.steps.findIndex(([id]) => id === step);
  if (index < 0) return `${at}: ${step} is not a step of this task`;
  const now = STATES[stateAt(episode.lanes[index][1], frame)];
  return `${at}: ${step} is ${now.replace("_", " ")} and cannot become ${wanted.replace("_", " ")}`;
}

function openEpisode(host, episode, moved) {
  host.replaceChildren();
  if (episode.error) { host.append(el("h3", {}, episode.id), el("p", { class: "missed" }, `failed: ${episode.error}`)); return null; }
  const place = el("div");
  host.append(place);
  const line = new Timeline(place, episode, `${episode.id}: ${episode.goal}`, moved);
  const go = (seconds) => { line.moment(seconds); place.scrollIntoView({ block: "nearest" }); };
  if (episode.steps.length) host.append(el("p", { class: "small soft" }, `Steps: ${episode.steps.map(([id, name]) => `${id} ${name}`).join("; ")}.`));
  host.append(el("h4", {}, "Transcript"), transcript(episode, go));
  if (episode.compressions.length) host.append(el("h4", {}, `Compressions (${episode.compressions.length}) and the context after each`), compressions(episode, go));
  if (episode.refusals.length) {
    host.append(el("details", {}, el("summary", {}, `${episode.refusals.length} impossible change${episode.refusals.length === 1 ? "" : "s"} ignored`),
      el("ul", {}, ...episode.refusals.map((refusal) => el("li", {}, refusalReason(episode, refusal))))));
  }
  return line;
}
