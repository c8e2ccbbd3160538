"use strict";
(() => {
  const run = JSON.parse(document.getElementById("run").textContent);
  const element = (name) => document.getElementById(name);
  const shares = Uint8Array.from(atob(run.shares), (letter) => letter.charCodeAt(0));
  const last = run.times.length - 1;
  const end = Math.max(run.times[last], run.bound, 1e-3);
  // What a cell shows: 0 to 254 is a share, the others are these.
  const DONE = 255, WAITING = 256, WARM = 257, KILLED = 258, FAILED = 259, UNDRAWN = -1;
  // Seconds in which the whole run is played at normal speed.
  const PLAY_S = 12;

  const killedAt = new Map(), markedAt = new Map();
  for (const [at, what, node] of run.faults) {
    if (node === null) continue;
    if (what === "kill-node" || what === "kill-home") killedAt.set(node, at);
    else markedAt.set(node, at);
  }

  // Time.

  let time = 0;
  let row = 0, part = 0; // The moment before `time`, and how far it is to the next, 0 to 1.

  function seek(to) {
    time = Math.min(Math.max(to, 0), end);
    let low = 0, high = last;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (run.times[middle] <= time) low = middle; else high = middle - 1;
    }
    row = low;
    const span = row < last ? run.times[row + 1] - run.times[row] : 0;
    part = span > 0 ? Math.min(1, Math.max(0, (time - run.times[row]) / span)) : 0;
  }

  const between = (column) => column[row] + (column[Math.min(row + 1, last)] - column[row]) * part;

  function shareOf(node) {
    const now = shares[row * run.nodes + node];
    const next = shares[Math.min(row + 1, last) * run.nodes + node];
    return now + (next - now) * part;
  }

  function stateOf(node) {
    if (killedAt.has(node) && time >= killedAt.get(node)) return KILLED;
    const letter = run.ends[node];
    if (letter === "w") return WARM;
    if (run.finished[node] !== null && time >= run.finished[node]) return DONE;
    if (letter === "f" && time >= run.times[last]) return FAILED;
    if (run.started[node] === null || time < run.started[node]) return WAITING;
    return Math.min(254, Math.floor(shareOf(node)));
  }

  // Colours, which the page's style decides.

  let colours = {}, ramp = [];

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "ink", "muted", "line", "none", "some", "most", "done", "warm", "killed", "failed", "edge", "mark"]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
    const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const from = channels(colours.some), to = channels(colours.most);
    ramp = Array.from({ length: 255 }, (_, share) => {
      if (share === 0) return colours.none;
      return "rgb(" + from.map((value, index) => Math.round(value + (to[index] - value) * share / 254)).join(",") + ")";
    });
  }

  // Cells: zones are blocks side by side, each with as many cells in a row as make it about square.

  const canvas = element("cells"), pen = canvas.getContext("2d");
  const SIZE_MAX = 56, GAP = 14, LABEL = 16, HEIGHT_MAX = 600;
  let blocks = [], size = 1, space = 0, drawn = new Int16Array(run.nodes).fill(UNDRAWN);

  // The largest cells with which `count` blocks across fit, and what they need.
  function fit(width, across) {
    const label = run.zoned ? LABEL : 0;
    const most = Math.max(...run.zones), rows = Math.ceil(run.zones.length / across);
    const blockWidth = Math.floor((width - GAP * (across - 1)) / across);
    const blockHeight = Math.floor((HEIGHT_MAX - (GAP + label) * rows) / rows);
    for (let cell = SIZE_MAX; cell >= 1; cell -= 1) {
      const columns = Math.floor(blockWidth / cell);
      if (columns >= 1 && columns * Math.floor(blockHeight / cell) >= most) return { cell, columns: Math.min(columns, most), across };
    }
    const columns = Math.max(1, Math.floor(blockWidth / 2));
    return { cell: blockWidth >= 2 ? 0 : -1, columns, across };
  }

  function layout() {
    const width = Math.max(200, canvas.parentElement.clientWidth), label = run.zoned ? LABEL : 0;
    let best = fit(width, 1);
    for (let across = 2; across <= run.zones.length; across += 1) {
      const other = fit(width, across);
      if (other.cell > best.cell) best = other;
    }
    size = Math.max(best.cell, 2);
    space = size >= 8 ? 2 : size >= 4 ? 1 : 0;
    const most = Math.max(...run.zones);
    // With room to spare a zone is a square.
    const columns = run.zoned && size === SIZE_MAX ? Math.min(best.columns, Math.ceil(Math.sqrt(most))) : best.columns;
    const stepX = columns * size + GAP, stepY = Math.ceil(most / columns) * size + GAP + label;
    const across = Math.max(1, Math.min(run.zones.length, Math.floor((width + GAP) / stepX)));
    let first = 0;
    blocks = run.zones.map((count, zone) => {
      const block = { first, count, columns, left: (zone % across) * stepX, top: Math.floor(zone / across) * stepY + label };
      first += count;
      return block;
    });
    prepare(canvas, pen, width, Math.ceil(run.zones.length / across) * stepY);
    drawLine();
    repaint();
  }

  function prepare(surface, context, width, height) {
    const ratio = window.devicePixelRatio || 1;
    surface.width = Math.round(width * ratio);
    surface.height = Math.round(height * ratio);
    surface.style.height = height + "px";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function repaint() {
    drawn.fill(UNDRAWN);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (run.zoned) {
      pen.fillStyle = colours.muted;
      pen.font = "12px system-ui, sans-serif";
      blocks.forEach((block, zone) => {
        const room = block.columns * size + GAP;
        const text = room >= 60 ? "zone " + zone : String(zone);
        if (room >= 18) pen.fillText(text, block.left, block.top - 4);
      });
    }
    paint();
  }

  function paint() {
    for (const block of blocks) {
      for (let index = 0; index < block.count; index += 1) {
        const node = block.first + index, state = stateOf(node);
        const key = markedAt.has(node) && time >= markedAt.get(node) ? state + 1000 : state;
        if (drawn[node] !== key) {
          drawn[node] = key;
          const left = block.left + (index % block.columns) * size, top = block.top + Math.floor(index / block.columns) * size;
          drawCell(node, state, key !== state, left, top, size - space);
        }
      }
    }
    read();
    drawHead();
  }

  function drawCell(node, state, marked, left, top, side) {
    pen.clearRect(left, top, size, size);
    const flat = { [DONE]: colours.done, [WARM]: colours.warm, [KILLED]: colours.killed, [FAILED]: colours.failed }[state];
    if (state === WAITING) {
      pen.fillStyle = colours.edge;
      pen.fillRect(left, top, side, side);
      const inner = side > 4 ? 1 : 0.5;
      pen.clearRect(left + inner, top + inner, side - 2 * inner, side - 2 * inner);
    } else if (flat) {
      pen.fillStyle = flat;
      pen.fillRect(left, top, side, side);
    } else if (side < 14) {
      pen.fillStyle = ramp[state];
      pen.fillRect(left, top, side, side);
    } else {
      // A large cell fills from below as well.
      const height = side * state / 255;
      pen.fillStyle = colours.none;
      pen.fillRect(left, top, side, side);
      pen.fillStyle = ramp[state];
      pen.fillRect(left, top + side - height, side, height);
    }
    if (marked && side >= 3) {
      const width = side >= 12 ? 3 : 1;
      pen.strokeStyle = colours.mark;
      pen.lineWidth = width;
      pen.strokeRect(left + width / 2, top + width / 2, side - width, side - width);
    }
    if (side >= 26) {
      const onDark = state === DONE || state === KILLED || state === FAILED || (state < 255 && state > 140);
      pen.fillStyle = onDark ? colours.ground : colours.ink;
      pen.font = "11px system-ui, sans-serif";
      pen.fillText(String(node), left + 4, top + side - 5);
    }
  }

  // The line of time, with what has arrived and who is done, the bound and the faults.

  const line = element("line"), lineWidth = () => Math.max(200, line.parentElement.clientWidth);
  const LINE_HEIGHT = 96, FOOT = 18;
  const ground = document.createElement("canvas"), groundPen = ground.getContext("2d"), linePen = line.getContext("2d");

  function drawLine() {
    const width = lineWidth(), height = LINE_HEIGHT - FOOT;
    for (const [surface, context] of [[line, linePen], [ground, groundPen]]) prepare(surface, context, width, LINE_HEIGHT);
    const x = (at) => at / end * width, y = (share) => 4 + (height - 4) * (1 - share);
    const trace = (column, whole) => {
      groundPen.beginPath();
      run.times.forEach((at, index) => groundPen.lineTo(x(at), y(whole ? column[index] / whole : 0)));
    };
    groundPen.clearRect(0, 0, width, LINE_HEIGHT);
    trace(run.arrived, 1);
    groundPen.lineTo(x(run.times[last]), y(0));
    groundPen.lineTo(0, y(0));
    groundPen.fillStyle = colours.some;
    groundPen.fill();
    groundPen.lineWidth = 2;
    groundPen.strokeStyle = colours.done;
    trace(run.done, run.pulls);
    groundPen.stroke();
    groundPen.font = "12px system-ui, sans-serif";
    for (const [at, what] of run.faults) mark(x(at), colours.mark, what, [], width);
    mark(x(run.bound), colours.ink, "bound " + short(run.bound) + " s", [5, 4], width);
    groundPen.fillStyle = colours.muted;
    groundPen.fillText("0 s; area: bytes that have arrived; line: nodes done", 0, LINE_HEIGHT - 4);
    const text = short(run.times[last]) + " s";
    groundPen.fillText(text, width - groundPen.measureText(text).width, LINE_HEIGHT - 4);
  }

  function mark(across, colour, text, dash, width) {
    groundPen.strokeStyle = groundPen.fillStyle = colour;
    groundPen.lineWidth = 1.5;
    groundPen.setLineDash(dash);
    groundPen.beginPath();
    groundPen.moveTo(across, 2);
    groundPen.lineTo(across, LINE_HEIGHT - FOOT);
    groundPen.stroke();
    groundPen.setLineDash([]);
    if (run.faults.length > 6 && dash.length === 0) return;
    const room = groundPen.measureText(text).width;
    groundPen.fillText(text, across + room + 6 > width ? across - room - 4 : across + 4, dash.length ? 14 : 30);
  }

  function drawHead() {
    const width = lineWidth();
    linePen.clearRect(0, 0, width, LINE_HEIGHT);
    linePen.drawImage(ground, 0, 0, width, LINE_HEIGHT);
    linePen.fillStyle = colours.ink;
    linePen.fillRect(Math.min(time / end * width, width - 2), 0, 2, LINE_HEIGHT - FOOT);
  }

  // Numbers.

  const short = (value) => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
  const bits = (megabits) => megabits >= 10000 ? short(megabits / 1000) + " Gbit/s" : short(megabits) + " Mbit/s";

  function read() {
    const over = time >= run.times[last];
    element("now").textContent = short(time) + " s";
    element("done").textContent = run.done[row] + " of " + run.pulls;
    element("arrived").textContent = Math.floor(100 * between(run.arrived)) + " %";
    element("rate").textContent = bits(over ? 0 : between(run.rate));
    element("upstream").textContent = bits(over ? 0 : between(run.upstream));
    element("copies").textContent = between(run.copies).toFixed(2);
    element("at").value = String(Math.round(1000 * time / end));
  }

  function describe(node) {
    const zone = blocks.findIndex((block) => node < block.first + block.count);
    const where = "Node " + node + (run.zoned ? ", zone " + zone : "") + ": ";
    const state = stateOf(node);
    const words = { [DONE]: "done at " + short(run.finished[node] ?? 0) + " s", [WAITING]: "not begun", [WARM]: "had everything before" };
    words[KILLED] = "killed at " + short(killedAt.get(node) ?? 0) + " s";
    words[FAILED] = "failed";
    return where + (words[state] ?? Math.floor(state / 2.55) + " % received");
  }

  function nodeAt(x, y) {
    for (const block of blocks) {
      const column = Math.floor((x - block.left) / size), down = Math.floor((y - block.top) / size);
      const index = down * block.columns + column;
      if (column >= 0 && column < block.columns && down >= 0 && index < block.count) return block.first + index;
    }
    return null;
  }

  // Playing.

  let playing = false, before = 0;

  function play(now) {
    if (!playing) return;
    const elapsed = Math.min(0.1, (now - before) / 1000);
    before = now;
    seek(time + elapsed * Number(element("speed").value) * end / PLAY_S);
    paint();
    if (time >= end) return stop();
    requestAnimationFrame(play);
  }

  function start() {
    if (time >= end) seek(0);
    playing = true;
    element("play").textContent = "Pause";
    requestAnimationFrame((now) => { before = now; play(now); });
  }

  function stop() {
    playing = false;
    element("play").textContent = "Play";
  }

  function show(to) {
    stop();
    seek(to);
    paint();
  }

  element("play").addEventListener("click", () => playing ? stop() : start());
  element("at").addEventListener("input", (event) => show(Number(event.target.value) / 1000 * end));
  const drag = (event) => { if (event.buttons & 1) show(event.offsetX / lineWidth() * end); };
  line.addEventListener("pointerdown", drag);
  line.addEventListener("pointermove", drag);
  canvas.addEventListener("pointermove", (event) => {
    const node = nodeAt(event.offsetX, event.offsetY);
    element("pointed").textContent = node === null ? "Point at a cell to see its node." : describe(node);
  });
  window.addEventListener("resize", layout);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); layout(); });

  const shown = new Set(run.ends);
  if (markedAt.size) shown.add("marked");
  if (run.started.some((at) => at !== null && at > 0)) shown.add("waiting");
  for (const item of document.querySelectorAll(".legend [data-end]")) item.hidden = !shown.has(item.dataset.end);

  element("stage").hidden = false;
  readColours();
  seek(0);
  layout();
  if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) show(end); else start();
})();
