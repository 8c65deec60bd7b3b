// Which clips are shown, in what order, and the keys.

const ORDERS = { "": "patient", fit_score: "fit score", rr_ms: "R–R", frames_used: "frames used", inpainted_percent: "inpainted %", depth_cm: "depth" };
const FILTERS = ["search", "outcome", "view", "rung", "flags"];
const state = { page: 0, pages: 1, falling: false, current: null, started: false };
const narrow = window.matchMedia("(max-width: 700px)").matches;

function counted(all, of, text) {
  const counts = new Map();
  for (const key of CLIPS.flatMap(of)) if (known(key)) counts.set(key, (counts.get(key) ?? 0) + 1);
  const keys = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
  return [["", all], ...keys.map((key) => [key, `${text(key)} (${counts.get(key)})`])];
}

function matches(clip) {
  const text = get("search").value.trim().toLowerCase();
  return (!text || clip.id.toLowerCase().includes(text))
    && (!get("outcome").value || (get("outcome").value === "refused" ? clip.value("outcome") !== "OK" : clip.value("outcome") === get("outcome").value))
    && (!get("view").value || String(clip.view) === get("view").value)
    && (!get("rung").value || clip.value("gating") === get("rung").value)
    && flagged(clip, get("flags").value);
}

const unverified = (clip) => clip.value("outcome") === "OK" && !clip.value("phase_verified");

// The flags' own codes never hold a space, so they can't be taken for the page's.
function flagged(clip, wanted) {
  if (wanted === "any flag") return clip.flags.length > 0;
  if (wanted === "no phase") return unverified(clip);
  return !wanted || clip.flags.includes(wanted);
}

// What is not known comes last in either direction.
function ordered(items, valueOf) {
  const sign = state.falling ? -1 : 1;
  return items.map((item, i) => [valueOf(item), i, item])
    .sort(([a, i], [b, j]) => Number(!known(a)) - Number(!known(b)) || (known(a) ? sign * (a - b) : 0) || i - j)
    .map(([, , item]) => item);
}

function groups() {
  const wanted = get("outcome").value === "missing";
  const text = get("search").value.trim().toLowerCase();
  const rows = DATA.patients.map((id, number) => ({ id, number, clips: [], hits: new Set() }));
  for (const clip of CLIPS) {
    rows[clip.patient].clips.push(clip);
    if (!wanted && matches(clip)) rows[clip.patient].hits.add(clip);
  }
  const lacks = (row) => DATA.views.some((_, view) => (!get("view").value || String(view) === get("view").value)
    && !row.clips.some((clip) => clip.view === view));
  const shown = rows.filter((row) => wanted ? lacks(row) && row.id.toLowerCase().includes(text) : row.hits.size);
  const name = get("order").value;
  // A row stands where its most extreme clip would: rising by its lowest value, falling by its highest.
  const extreme = (row) => {
    if (!name) return row.number;
    const values = [...(wanted ? row.clips : row.hits)].map((clip) => clip.value(name)).filter(known);
    return values.length ? (state.falling ? Math.max(...values) : Math.min(...values)) : null;
  };
  return ordered(shown, extreme);
}

function row(group) {
  const section = element("section", { class: "patient", "aria-label": `Patient ${group.id}` }, element("h2", {}, group.id));
  DATA.views.forEach(([code, name], view) => {
    const clip = group.clips.find((one) => one.view === view);
    const node = clip ? card(clip, false) : element("div", { class: "missing" }, `no ${code} (${name}) clip`);
    if (clip && group.hits.size && !group.hits.has(clip)) node.classList.add("dim");
    section.append(node);
  });
  return section;
}

function render() {
  const grid = get("layout").value === "grid" || get("outcome").value === "missing";
  const name = get("order").value;
  const items = grid ? groups() : ordered(CLIPS.filter(matches), (clip) => name ? clip.value(name) : clip.patient);
  const size = Number(get("size").value) * (grid ? 1 : 4) || Math.max(1, items.length);
  const pages = Math.max(1, Math.ceil(items.length / size));
  state.page = Math.min(Math.max(0, state.page), pages - 1);
  state.pages = pages;
  const part = items.slice(state.page * size, (state.page + 1) * size);
  const main = get("clips");
  main.className = grid ? "grid" : "list";
  main.replaceChildren(...part.map((item) => grid ? row(item) : card(item, true)));
  if (!part.length) main.append(element("p", { class: "nothing" }, "No clip matches."));
  const clips = grid ? items.reduce((sum, group) => sum + group.hits.size, 0) : items.length;
  const patients = `${items.length} of ${DATA.patients.length} patients`;
  get("count").textContent = `${grid ? `${patients}, ` : ""}${clips} of ${CLIPS.length} clips`;
  get("reset").hidden = FILTERS.every((id) => !get(id).value);
  get("page").textContent = `page ${state.page + 1} of ${pages}`;
  get("back").disabled = state.page === 0;
  get("forth").disabled = state.page === pages - 1;
  get("direction").textContent = state.falling ? "↓ falling" : "↑ rising";
  state.current = main.querySelector(".clip");
  state.started = false;
  if (state.current) state.current.tabIndex = 0;
}

function fresh() {
  state.page = 0;
  render();
}

function showAll() {
  for (const id of FILTERS) get(id).value = "";
  fresh();
}

function turn(step) {
  state.page += step;
  render();
  window.scrollTo({ top: get("controls").offsetTop });
}

// The current card can be reached with Tab; the dialog, while open, keeps the focus and shows the same clip.
function choose(node) {
  if (state.current) state.current.tabIndex = -1;
  state.current = node;
  node.tabIndex = 0;
  if (get("large").open) enlarge(node.clip);
  else node.focus();
  node.scrollIntoView({ block: "nearest" });
}

// Step through cards, or through rows within the same view, and on over the ends of the page.
function move(step, byRow) {
  const kind = byRow && get("clips").className === "grid" ? "section.patient" : ".clip";
  const stops = () => [...get("clips").querySelectorAll(kind)].filter((node) => node.matches(".clip") || node.querySelector(".clip"));
  const view = state.started ? state.current.clip.view : 0;
  const place = state.started ? stops().indexOf(state.current.closest(kind)) + step : 0;
  state.started = true;
  const beyond = place < 0 || place >= stops().length;
  if (beyond && (state.page + step < 0 || state.page + step >= state.pages)) return;
  if (beyond) turn(step);
  const node = stops().at(beyond ? step > 0 ? 0 : -1 : place);
  if (node) choose(nearest(node, view));
}

function nearest(node, view) {
  const cards = node.matches(".clip") ? [node] : [...node.querySelectorAll(".clip")];
  return cards.sort((a, b) => Math.abs(a.clip.view - view) - Math.abs(b.clip.view - view))[0];
}

function play(on) {
  document.body.classList.toggle("still", !on);
  get("play").textContent = on ? "■ stop" : "▶ play";
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const steps = { ArrowRight: [1, false], ArrowLeft: [-1, false], j: [1, true], k: [-1, true] };
  const large = get("large").open;
  if (steps[event.key]) move(...steps[event.key]);
  else if (event.key === "Enter" && event.target.clip && !large) enlarge(event.target.clip);
  else if (event.key === " " && !event.target.matches("button")) play(document.body.classList.contains("still"));
  else if (event.key === "o") get("outline").click();
  else if (large && (event.key === "," || event.key === ".")) stepFrame(event.key === "." ? 1 : -1);
  else if (!large && event.key === "n") get("forth").click();
  else if (!large && event.key === "p") get("back").click();
  else if (event.key === "/" && !large) get("search").focus();
  else return;
  event.preventDefault();
}

function start() {
  fill(get("outcome"), [...counted("all outcomes", (clip) => clip.value("outcome"), (code) => code),
    ["refused", "all refused"], ["missing", "view without a clip"]]);
  fill(get("view"), [["", "all views"], ...DATA.views.map(([code, name], i) => [i, `${code} (${name})`])]);
  fill(get("rung"), counted("any gating", (clip) => clip.value("gating"), words));
  const [every, ...flags] = counted("flagged or not", (clip) => clip.flags, words);
  const howMany = (test) => CLIPS.filter(test).length;
  fill(get("flags"), [every, ["any flag", `to review (${howMany((clip) => clip.flags.length)})`], ...flags,
    ["no phase", `phase not verified (${howMany(unverified)})`]]);
  fill(get("order"), Object.entries(ORDERS));
  fill(get("size"), [[25, "25 patients"], [50, "50 patients"], [100, "100 patients"], [0, "all"]]);
  for (const id of ["outcome", "view", "rung", "flags", "order", "layout", "size"]) get(id).addEventListener("change", fresh);
  get("search").addEventListener("input", fresh);
  get("reset").addEventListener("click", showAll);
  get("direction").addEventListener("click", () => { state.falling = !state.falling; fresh(); });
  get("outline").addEventListener("change", () => document.body.classList.toggle("bare", !get("outline").checked));
  get("play").addEventListener("click", () => play(document.body.classList.contains("still")));
  get("back").addEventListener("click", () => turn(-1));
  get("forth").addEventListener("click", () => turn(1));
  get("clips").addEventListener("click", (event) => {
    const node = event.target.closest(".clip");
    if (!node) return;
    state.started = true;
    choose(node);
    if (event.target.closest(".picture")) enlarge(node.clip);
  });
  get("large").addEventListener("close", () => choose(state.current));
  document.addEventListener("keydown", pressed);
  get("controls").hidden = false;
  get("counts").open = !narrow;
  play(!calm);
  render();
}

start();
