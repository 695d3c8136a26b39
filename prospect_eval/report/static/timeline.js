// One episode over time: pictures, turns and their matches, probabilities with movable thresholds, step states, cache.
"use strict";

const LEFT = 104, RIGHT = 12, LANE = 20, SHEETS = {};
const STATES = ["not_started", "in_progress", "completed"];
const POLLS = { right: "right", wrong: "wrong", unanswered: "no answer", unknown: "no known answer" };
const KINDS = { good: "matched", off: "matched, different wording", missed: "missed", redundant: "false alarm" };

function sheetOf(video) {
  if (!(video in SHEETS)) {
    const found = document.getElementById(`sheet-${(DATA.sheets || []).indexOf(video)}`);
    SHEETS[video] = found ? JSON.parse(found.textContent) : null;
  }
  return SHEETS[video];
}

let CLIPS = 0;

// the state of a list of changes at a frame
function stateAt(changes, frame) {
  let state = changes.length ? changes[0][1] : 0;
  for (const [at, now] of changes) { if (at > frame) break; state = now; }
  return state;
}

// most pairs at most `within` frames apart, one to one; both lists in order
function pairsWithin(predicted, reference, within) {
  let pairs = 0, r = 0;
  for (const p of predicted) {
    while (r < reference.length && reference[r] < p - within) r++;
    if (r < reference.length && Math.abs(reference[r] - p) <= within) { pairs++; r++; }
  }
  return pairs;
}

class Timeline {
  // moved(timeline) is called on every change of the view or the time
  constructor(host, episode, title, moved = () => {}) {
    Object.assign(this, { host, episode, moved });
    this.begin = episode.start / episode.fps;
    this.end = (episode.start + episode.frames) / episode.fps;
    [this.from, this.to, this.at] = [this.begin, this.end, null];
    this.speaking = unpack(episode.speaking, "u2");
    this.update = unpack(episode.update, "u2");
    this.cache = unpack(episode.cache, "u4");
    this.thresholds = { speaking: episode.thresholds[0], update: episode.thresholds[1] };
    this.sheet = sheetOf(episode.video);
    this.build(title);
    this.redraw();
  }

  build(title) {
    const button = (label, words, act) => el("button", { type: "button", title: words, "aria-label": words, onclick: act }, label);
    this.told = el("output", { class: "small told" });
    const sliders = this.speaking.length ? ["speaking", "update"].map((knob) => this.slider(knob)) : [];
    this.bar = el("div", { class: "bar" },
      button("+", "zoom in", () => this.zoom(0.5)), button("−", "zoom out", () => this.zoom(2)),
      button("◀", "earlier", () => this.pan(-0.3)), button("▶", "later", () => this.pan(0.3)),
      button("all", "show the whole episode", () => this.show(this.begin, this.end)), ...sliders);
    this.canvas = svg("svg", {
      class: "timeline", tabindex: 0, role: "group",
      "aria-label": `${title}: timeline; arrow keys select a frame (with shift: ten frames), + and - zoom, page keys scroll, Home shows the whole episode`,
      onkeydown: (e) => this.key(e), onpointerdown: (e) => this.grab(e), onwheel: (e) => this.wheel(e),
    });
    this.detail = el("div", { class: "detail", role: "status", "aria-live": "polite" });
    this.host.append(el("h3", {}, title), this.bar, this.told, this.canvas, this.detail);
    new ResizeObserver(() => this.redraw()).observe(this.host);
  }

  slider(knob) {
    const value = el("output", {}, this.thresholds[knob].toFixed(2));
    const input = el("input", {
      type: "range", min: 0, max: 1, step: 0.01, value: this.thresholds[knob], "data-knob": knob,
      oninput: () => { this.thresholds[knob] = Number(input.value); value.textContent = this.thresholds[knob].toFixed(2); this.redraw(); },
    });
    return el("label", { class: `knob ${knob}` }, `${knob} threshold`, input, value);
  }

  x(seconds) { return LEFT + ((seconds - this.from) / (this.to - this.from)) * (this.width - LEFT - RIGHT); }
  second(x) { return this.from + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (this.to - this.from); }
  frame(seconds) { return Math.min(this.episode.start + this.episode.frames - 1, Math.max(this.episode.start, Math.floor(seconds * this.episode.fps + 1e-6))); }

  show(from, to, quietly = false) {
    const span = Math.min(this.end - this.begin, Math.max(2 / this.episode.fps, to - from));
    this.from = Math.min(Math.max(from, this.begin), this.end - span);
    this.to = this.from + span;
    this.redraw();
    if (!quietly) this.moved(this);
  }

  zoom(factor, around = this.at ?? (this.from + this.to) / 2) {
    const share = Math.min(1, Math.max(0, (around - this.from) / (this.to - this.from)));
    const span = Math.min(this.end - this.begin, (this.to - this.from) * factor);
    this.show(around - share * span, around - share * span + span);
  }

  pan(share) { const by = share * (this.to - this.from); this.show(this.from + by, this.to + by); }

  moment(seconds, quietly = false) {
    this.at = Math.min(this.end, Math.max(this.begin, seconds));
    if (this.at < this.from || this.at > this.to) { const half = (this.to - this.from) / 2; this.show(this.at - half, this.at + half, true); }
    this.redraw();
    if (!quietly) this.moved(this);
  }

  key(event) {
    const frames = event.shiftKey ? 10 : 1, now = this.at ?? this.from;
    const acts = {
      ArrowLeft: () => this.moment(now - frames / this.episode.fps), ArrowRight: () => this.moment(now + frames / this.episode.fps),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      PageUp: () => this.pan(-0.8), PageDown: () => this.pan(0.8), Home: () => this.show(this.begin, this.end),
    };
    if (event.key in acts && !event.ctrlKey && !event.metaKey) { event.preventDefault(); acts[event.key](); }
  }

  place(event) { return ((event.clientX - this.canvas.getBoundingClientRect().left) / this.canvas.getBoundingClientRect().width) * this.width; }

  grab(event) {
    const begin = this.place(event), [from, to] = [this.from, this.to];
    let dragged = false;
    const drag = (e) => {
      const by = this.place(e) - begin;
      dragged = dragged || Math.abs(by) > 4;
      const seconds = (by / (this.width - LEFT - RIGHT)) * (to - from);
      if (dragged) this.show(from - seconds, to - seconds);
    };
    const drop = (e) => {
      window.removeEventListener("pointermove", drag);
      if (!dragged) this.moment(this.second(this.place(e)));
    };
    window.addEventListener("pointermove", drag);
    window.addEventListener("pointerup", drop, { once: true });
  }

  // the wheel scrolls the page; with ctrl (or a pinch) it zooms the timeline
  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.second(this.place(event)));
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  paint() {
    this.width = Math.max(360, this.host.clientWidth);
    const tops = {}, e = this.episode;
    let y = 22;
    const row = (name, height) => { tops[name] = y; y += height; };
    if (this.sheet) row("pictures", 62);
    if (e.polls) row("polls", 26);
    if (e.mistakes || e.predicted_mistakes) row("mistakes", 42);
    row("turns", 78);
    if (this.speaking.length) row("probs", 92);
    row("lanes", e.steps.length * (LANE + 4) + 12);
    if (this.cache.length) row("cache", 62);
    fill(this.canvas, { viewBox: `0 0 ${this.width} ${y}`, height: y }, []);
    this.clip ??= `clip-${CLIPS++}`;
    const inside = svg("g", { "clip-path": `url(#${this.clip})` });
    this.canvas.replaceChildren(svg("clipPath", { id: this.clip }, svg("rect", { x: LEFT, y: 0, width: this.width - LEFT - RIGHT, height: y })), inside);
    this.axis(inside, y);
    if (this.sheet) this.pictures(inside, tops.pictures);
    if (e.polls) this.polls(inside, tops.polls);
    if ("mistakes" in tops) this.mistakes(inside, tops.mistakes);
    this.dropped(inside, tops.turns);
    this.intervals(inside, tops.turns);
    this.turns(inside, tops.turns);
    if (this.speaking.length) this.probs(inside, tops.probs);
    this.lanes(inside, tops.lanes);
    if (this.cache.length) this.memory(inside, tops.cache);
    if (this.at !== null) inside.append(svg("line", { x1: this.x(this.at), x2: this.x(this.at), y1: 0, y2: y, class: "now" }));
    this.explain();
  }

  label(y, text, more = "") {
    const shown = svg("text", { x: 4, y }, text.length > 15 ? `${text.slice(0, 14)}…` : text);
    if (more || text.length > 15) shown.append(svg("title", {}, more || text));
    this.canvas.append(shown);
  }

  axis(g, height) {
    const wanted = (this.to - this.from) / Math.max(2, (this.width - LEFT) / 90);
    const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200].find((s) => s >= wanted) ?? 3600;
    for (let s = Math.ceil(this.from / step) * step; s <= this.to; s += step) {
      g.append(svg("line", { x1: this.x(s), x2: this.x(s), y1: 16, y2: height, class: "grid" }), svg("text", { x: this.x(s), y: 12, "text-anchor": "middle" }, clock(s)));
    }
  }

  // as many whole pictures as fit next to each other
  pictures(g, top) {
    this.label(top + 30, "pictures");
    let free = -Infinity;
    this.sheet.frames.forEach((frame, k) => {
      const x = this.x(frame / this.episode.fps);
      if (x < Math.max(free, LEFT) || x > this.width - RIGHT - 20) return;
      free = x + this.sheet.side + 2;
      g.append(this.picture(k, x, top));
    });
  }

  picture(k, x, y) {
    const { side, columns, src, frames } = this.sheet, rows = Math.ceil(frames.length / columns);
    const view = `${(k % columns) * side} ${Math.floor(k / columns) * side} ${side} ${side}`;
    return svg("svg", { x, y, width: side, height: side, viewBox: view }, svg("image", { href: src, width: columns * side, height: rows * side }),
      svg("title", {}, clock(frames[k] / this.episode.fps)));
  }

  mark(x, y, kind, words) {
    const shapes = {
      good: () => svg("circle", { cx: x, cy: y, r: 5 }),
      off: () => svg("path", { d: `M${x} ${y - 6}l6 6l-6 6l-6 -6z` }),
      missed: () => svg("circle", { cx: x, cy: y, r: 5, class: "hollow" }),
      redundant: () => svg("path", { d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10`, class: "hollow" }),
    };
    const shape = shapes[kind]();
    shape.classList.add(`m-${kind}`);
    shape.append(svg("title", {}, words));
    return shape;
  }

  turns(g, top) {
    const e = this.episode, seconds = (frame) => frame / e.fps;
    this.label(top + 12, "reference");
    this.label(top + 36, "user");
    this.label(top + 64, "predicted");
    let free = -Infinity;
    for (const [frame, text, reference, cosine, kind] of e.predictions) {
      const x = this.x(seconds(frame));
      if (reference !== null) {
        const to = this.x(seconds(e.references[reference][0]));
        g.append(svg("line", { x1: to, y1: top + 14, x2: x, y2: top + 54, class: `m-${kind}` }));
        const middle = (x + to) / 2;
        if (middle > free) { free = middle + 34; g.append(svg("text", { x: middle + 3, y: top + 48, class: "cosine" }, cosine.toFixed(2))); }
      }
      g.append(this.mark(x, top + 60, kind, `${clock(seconds(frame))}, predicted (${KINDS[kind]}): ${text}`));
    }
    for (const [frame, text, kind] of e.references) g.append(this.mark(this.x(seconds(frame)), top + 8, kind, `${clock(seconds(frame))}, reference (${KINDS[kind]}): ${text}`));
    for (const [frame, text] of e.users) g.append(svg("text", { x: this.x(seconds(frame)), y: top + 37, "text-anchor": "middle", class: "asked" }, "?", svg("title", {}, `${clock(seconds(frame))}, user: ${text}`)));
  }

  // polls as marks: a filled circle for a right answer, a cross for a wrong one, a hollow circle for none
  polls(g, top) {
    const e = this.episode, marks = { right: "good", wrong: "redundant", unanswered: "missed", unknown: "off" };
    this.label(top + 12, "polls");
    for (const [frame, question, accepted, answer, state] of e.polls) {
      const words = `${clock(frame / e.fps)}, poll: ${question}\nanswer (${POLLS[state]}): ${answer || "–"}\naccepted: ${accepted || "–"}`;
      g.append(this.mark(this.x(frame / e.fps), top + 9, marks[state], words));
    }
  }

  // reference mistakes as bars, predicted ones as marks below them: a circle inside a reference span, a cross elsewhere
  mistakes(g, top) {
    const e = this.episode;
    this.label(top + 11, "mistakes");
    this.label(top + 30, "predicted");
    for (const [from, to, text, hit] of e.mistakes ?? []) {
      const words = `${clock(from)} to ${clock(to)}, mistake (${hit ? "found" : "not found"}): ${text}`;
      g.append(svg("rect", { x: this.x(from) - (from === to ? 3 : 0), y: top + 1, width: Math.max(3, this.x(to) - this.x(from)), height: 14, rx: 3, class: hit ? "span-hit" : "span-missed" }, svg("title", {}, words)));
    }
    for (const [frame, text, hit] of e.predicted_mistakes ?? []) {
      g.append(this.mark(this.x(frame / e.fps), top + 26, hit ? "good" : "redundant", `${clock(frame / e.fps)}, predicted mistake (${hit ? "in a span" : "false alarm"}): ${text}`));
    }
  }

  // under a clock: frames that the model did not see behind all turns; from decision over start to end of speech behind the predicted ones
  dropped(g, top) {
    const e = this.episode;
    const bar = (from, to, y, height, kind, words) => g.append(svg("rect", { x: this.x(from), y, width: Math.max(1, this.x(to) - this.x(from)), height, class: kind }, svg("title", {}, words)));
    for (const [first, last] of e.dropped ?? []) {
      const count = last - first + 1;
      bar(first / e.fps, (last + 1) / e.fps, top - 2, 72, "dropped", `${clock(first / e.fps)}: ${count} ${count > 1 ? "frames" : "frame"} dropped, because the model was busy`);
    }
    for (const [decided, from, to, heard, words, text] of e.delays ?? []) {
      const cut = heard === null ? "" : `, interrupted by the user after ${heard} of ${words} words`;
      bar(decided / e.fps, from, top + 69, 4, "computing", `decided at ${clock(decided / e.fps)}, speech starts at ${clock(from)}: ${text}`);
      bar(from, to, top + 69, 4, heard === null ? "speech" : "speech-cut", `spoken from ${clock(from)} to ${clock(to)}${cut}: ${text}`);
    }
  }

  // bars behind the turns: candidate intervals over all rows, reply spans behind the references, standing questions behind the user
  intervals(g, top) {
    const e = this.episode;
    const bar = (from, to, y, height, kind, words) => g.append(svg("rect", { x: this.x(from), y, width: Math.max(2, this.x(to) - this.x(from)), height, rx: 3, class: kind }, svg("title", {}, words)));
    (e.candidates ?? []).forEach(([from, to], k) => bar(from, to, top - 2, 72, `candidate-${k % 2}`, `${clock(from)} to ${clock(to)}: a decision is asked for`));
    for (const [from, to, text, hit] of e.spans ?? []) bar(from, to, top + 1, 14, hit ? "span-hit" : "span-missed", `${clock(from)} to ${clock(to)}, valid reply span (${hit ? "answered" : "no utterance in it"}): ${text}`);
    for (const [frame, until, text] of e.standing ?? []) bar(frame / e.fps, until, top + 28, 8, "standing", `${clock(frame / e.fps)} to ${clock(until)}, standing question: ${text}`);
  }

  probs(g, top) {
    const height = 76, y = (p) => top + height * (1 - p);
    this.label(top + 10, "probability");
    for (const knob of ["speaking", "update"]) {
      const values = this[knob], at = this.thresholds[knob];
      g.append(svg("path", { d: this.path(values, y), class: `p-${knob}` }), svg("line", { x1: LEFT, x2: this.width, y1: y(at), y2: y(at), class: `p-${knob} dotted` }));
      this.label(top + (knob === "speaking" ? 28 : 44), `— ${knob}`);
      this.canvas.lastChild.classList.add(knob);
    }
  }

  // the largest and the smallest value of each pixel where there are more frames than pixels
  path(values, y) {
    const e = this.episode, first = Math.max(0, Math.floor(this.from * e.fps) - e.start), last = Math.min(values.length - 1, Math.ceil(this.to * e.fps) - e.start);
    const every = Math.max(1, Math.floor((last - first) / (2 * this.width)));
    const points = [];
    for (let k = first; k <= last; k += every) {
      let [low, high] = [k, k];
      for (let j = k; j < Math.min(k + every, last + 1); j++) { if (values[j] < values[low]) low = j; if (values[j] > values[high]) high = j; }
      for (const j of low === high ? [low] : low < high ? [low, high] : [high, low]) points.push(`${this.x((j + e.start) / e.fps).toFixed(1)} ${y(values[j]).toFixed(1)}`);
    }
    return points.length ? `M${points.join("L")}` : "";
  }

  lanes(g, top) {
    const e = this.episode, last = e.start + e.frames;
    e.steps.forEach(([id, name], k) => {
      const y = top + k * (LANE + 4);
      this.label(y + 14, id, name);
      e.lanes[k].forEach((changes, side) => {
        changes.forEach(([frame, state], n) => {
          const until = n + 1 < changes.length ? changes[n + 1][0] : last;
          const x = this.x(frame / e.fps);
          g.append(svg("rect", { x, y: y + (side * LANE) / 2, width: Math.max(0, this.x(until / e.fps) - x), height: LANE / 2 - 1, class: `s-${STATES[state]}` },
            svg("title", {}, `${name}, ${side ? "tracked" : "reference"}: ${STATES[state].replace("_", " ")} from ${clock(frame / e.fps)}`)));
        });
      });
    });
  }

  memory(g, top) {
    const peak = this.cache.reduce((a, b) => Math.max(a, b), 1), y = (v) => top + 48 - (44 * v) / peak;
    this.label(top + 14, "cache");
    this.label(top + 30, `peak ${peak.toLocaleString("en")}`);
    g.append(svg("path", { d: this.path(this.cache, y), class: "p-cache" }));
    for (const [frame, before, after] of this.episode.compressions) {
      const x = this.x(frame / this.episode.fps);
      g.append(svg("line", { x1: x, x2: x, y1: top, y2: top + 50, class: "squeeze" }, svg("title", {}, `${clock(frame / this.episode.fps)}: ${before} to ${after} tokens`)));
    }
  }

  // the time as text, and the decisions at the current thresholds
  explain() {
    const e = this.episode, said = [];
    for (const [knob, reference] of [["speaking", e.references.map((r) => r[0])], ["update", e.transitions[0]]]) {
      if (!this[knob].length) continue;
      const frames = [];
      this[knob].forEach((p, k) => { if (p >= this.thresholds[knob]) frames.push(e.start + k); });
      const pairs = pairsWithin(frames, reference, e.fps), sum = frames.length + reference.length;
      said.push(`${knob} ≥ ${this.thresholds[knob].toFixed(2)}: ${frames.length} frames, event F1 within 1 s ${sum ? ((2 * pairs) / sum).toFixed(3) : "–"}`);
    }
    this.told.textContent = said.length ? `${said.join(" · ")} (frames above the threshold; scores of the run also use the state tracker)` : "";
    if (this.at === null) { this.detail.replaceChildren(el("span", { class: "soft" }, "Click the timeline to select a frame, or focus it and use the arrow keys.")); return; }
    const frame = this.frame(this.at), k = frame - e.start, parts = [];
    const facts = [`${clock(this.at)}, frame ${frame}`];
    if (this.speaking.length) facts.push(`speaking ${this.speaking[k].toFixed(3)}`, `update ${this.update[k].toFixed(3)}`);
    if (this.cache.length) facts.push(`cache ${this.cache[k].toLocaleString("en")} tokens`);
    if (this.sheet) {
      let near = 0;
      this.sheet.frames.forEach((f, n) => { if (Math.abs(f - frame) < Math.abs(this.sheet.frames[near] - frame)) near = n; });
      parts.push(el("div", { class: "near" }, fill(svg("svg", { width: 112, height: 112, viewBox: `0 0 ${this.sheet.side} ${this.sheet.side}`, role: "img", "aria-label": "nearest picture" }), {}, [this.picture(near, 0, 0)])));
    }
    const lines = [el("b", {}, facts.join(" · "))];
    e.lanes.forEach(([reference, tracked], n) => {
      const [a, b] = [stateAt(reference, frame), stateAt(tracked, frame)];
      if (a !== b) lines.push(el("span", { class: "wrong" }, `${e.steps[n][0]} ${e.steps[n][1]}: ${STATES[b].replace("_", " ")}, should be ${STATES[a].replace("_", " ")}`));
    });
    const near = (turns) => turns.filter(([f]) => Math.abs(f - frame) <= 2 * e.fps);
    for (const [f, question, accepted, answer, state] of near(e.polls ?? [])) lines.push(el("span", {}, `${clock(f / e.fps)} poll: ${question} – answer (${POLLS[state]}): ${answer || "–"}; accepted: ${accepted || "–"}`));
    for (const [from, to, text] of (e.spans ?? []).filter(([a, b]) => a <= this.at && this.at <= b)) lines.push(el("span", {}, `${clock(from)} to ${clock(to)} valid reply span: ${text}`));
    for (const [from, to, text, hit] of (e.mistakes ?? []).filter(([a, b]) => a <= this.at && this.at <= b)) lines.push(el("span", {}, `${clock(from)} to ${clock(to)} mistake (${hit ? "found" : "not found"}): ${text}`));
    for (const [f, text, hit] of near(e.predicted_mistakes ?? [])) lines.push(el("span", {}, `${clock(f / e.fps)} predicted mistake (${hit ? "in a span" : "false alarm"}): ${text}`));
    for (const [f, text] of near(e.users)) lines.push(el("span", {}, `${clock(f / e.fps)} user: ${text}`));
    for (const [f, text, kind] of near(e.references)) lines.push(el("span", {}, `${clock(f / e.fps)} reference (${KINDS[kind]}): ${text}`));
    for (const [f, text, , , kind] of near(e.predictions)) lines.push(el("span", {}, `${clock(f / e.fps)} predicted (${KINDS[kind]}): ${text}`));
    this.detail.replaceChildren(...parts, el("div", { class: "lines" }, ...lines));
  }
}
