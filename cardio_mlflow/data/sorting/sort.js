// Which clips are on the screen, and what keys and buttons do. Only the screen is in the document.

const FILTERS = {
  ask: ["to be asked", isAsked], all: ["all clips", () => true],
  doubt: ["doubtful", (clip) => Boolean(clip.doubt) && !byEye(clip)],
  several: ["several of one view", (clip) => VIEWS.slice(0, -1).includes(viewOf(clip)) && candidates(clip.patient, viewOf(clip)).length > 1],
  suggested: ["suggested", (clip) => sourceOf(clip) === "suggested"], eye: ["labelled by eye", byEye],
  ...Object.fromEntries(VIEWS.map((view) => [`view ${view}`, [view === "other" ? "another view" : view, (clip) => viewOf(clip) === view]])),
};
const ORDERS = { similar: "similar together", patient: "patient", sure: "least sure first" };
const SIZES = { 12: "12, large", 24: "24 a screen", 40: "40, small" };
const SMALLEST = 104, CAPTION = 30, GAP = 8, PATIENTS = 8;
const state = { layout: "label", items: [], first: 0, count: 1, current: null };

const shown = () => state.items.slice(state.first, state.first + state.count);
const visible = () => [...get("clips").querySelectorAll(".clip")];
const nodeOf = (clip) => visible().find((node) => node.clip === clip);
const open = () => visible().map((node) => node.clip).filter((clip) => !byEye(clip));
const suggested = () => open().filter(viewOf);

function say(text) {
  get("said").textContent = text;
}

// The clips or patients to go through; they stay as they are while labels change, until this is called again.
function listed() {
  const text = get("search").value.trim().toLowerCase();
  const exact = DATA.patients.some((patient) => patient.toLowerCase() === text);
  const [, fits] = FILTERS[get("filter").value];
  const clips = CLIPS.filter((clip) => fits(clip) && (exact ? clip.patient.toLowerCase() === text : clip.patient.toLowerCase().includes(text)));
  const order = get("order").value;
  const number = new Map(DATA.patients.map((patient, i) => [patient, i]));
  if (order === "sure") clips.sort((a, b) => sureness(a) - sureness(b) || a.index - b.index);
  if (order === "patient") clips.sort((a, b) => compared(a.patient, b.patient) || a.index - b.index);
  if (state.layout === "label") return clips;
  const patients = [...new Set(clips.map((clip) => clip.patient))];
  return order === "sure" ? patients : patients.sort((a, b) => compared(a, b) || number.get(a) - number.get(b));
}

const compared = new Intl.Collator("en", { numeric: true }).compare;
// Nothing known comes first, what a person or a tag says last.
const sureness = (clip) => byEye(clip) ? 3 : clip.from === "tags" ? 2 : clip.probability ?? -1;

function fresh() {
  state.items = listed();
  state.first = 0;
  state.current = null;
  render();
}

// The number of columns that lets the wanted clips be largest; small windows show fewer of them.
function fit() {
  const main = get("clips"), style = getComputedStyle(main);
  const width = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const height = main.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const wanted = Number(get("size").value);
  let best = { count: 0, side: 0 };
  for (let columns = 1; columns <= 12; columns += 1) {
    const rows = Math.max(1, Math.min(Math.ceil(wanted / columns), Math.floor((height + GAP) / (SMALLEST + CAPTION + GAP))));
    const side = Math.floor(Math.min((width + GAP) / columns - GAP, (height + GAP) / rows - GAP - CAPTION)) - 6;
    const count = Math.min(wanted, rows * columns);
    if ((side >= SMALLEST - 6 || columns === 1) && (count > best.count || (count === best.count && side > best.side))) best = { count, side, columns };
  }
  main.style.setProperty("--side", `${Math.max(80, best.side)}px`);
  main.style.setProperty("--columns", best.columns);
  return best.count;
}

function render() {
  const main = get("clips"), label = state.layout === "label";
  document.body.dataset.layout = main.className = state.layout;
  main.style.cssText = "";
  state.count = label ? fit() : PATIENTS;
  state.first = Math.max(0, Math.min(state.first, state.items.length - 1));
  const part = shown();
  if (part.length) main.setAttribute("role", "listbox");
  else main.removeAttribute("role");
  main.replaceChildren(...part.map(label ? card : patientRow), ...(part.length ? [] : [finished()]));
  main.scrollTop = 0;
  const kept = state.current && nodeOf(state.current);
  select(kept ? state.current : visible()[0]?.clip ?? null, false);
  get("where").textContent = part.length ? `${state.first + 1}–${state.first + part.length} of ${state.items.length}${label ? "" : " patients"}` : "none";
  get("back").disabled = state.first === 0;
  tell();
}

// Counts, notice and buttons: all that follows from the labels.
function tell() {
  const names = { eye: "by eye", tags: "by tags", suggested: "suggested", "": "open" };
  const counts = Object.fromEntries(Object.keys(names).map((source) => [source, 0]));
  for (const clip of CLIPS) counts[sourceOf(clip)] += 1;
  get("bar").setAttribute("aria-label", Object.entries(names).map(([source, name]) => `${counts[source]} ${name}`).join(", "));
  for (const source of Object.keys(names)) get("bar").querySelector(`.${source || "open"}`).style.flexGrow = counts[source];
  get("counts").replaceChildren(...Object.entries(names).map(([source, name]) => element("li", {}, element("i", { class: source || "open" }), element("b", {}, String(counts[source])), ` ${name}`)));
  notice();
  const rest = suggested().length;
  get("accept").lastElementChild.textContent = rest ? `accept ${rest}` : open().length ? "accept" : "next screen";
  get("accept").title = `accept the ${several(rest, "suggestion or tag", "suggestions and tags")} of this screen that nobody labelled`;
  get("undo").disabled = !steps.length;
  get("accept").disabled = !visible().length;
  about();
}

function notice() {
  const changes = unsaved();
  get("save").classList.toggle("urgent", changes > 0);
  const where = keeps ? "only this browser keeps them" : "this browser can't keep them: save before you close the page";
  if (changes) get("notice").replaceChildren(`${several(changes, "decision")} not saved yet; ${where}.`);
  else if (labels.size) get("notice").replaceChildren(`All saved (${labels.size}). Next: `, command());
  else get("notice").replaceChildren("Press ", element("kbd", {}, "?"), " for the keys.");
}

const command = () => element("code", {}, "mlflow run . -e sort … -P views=<the saved clips.csv>");

// What stands in place of clips: that no clip matches, or what to do when none is left.
function finished() {
  const left = CLIPS.filter(isAsked).length;
  if (left || !CLIPS.length || get("filter").value !== "ask" || get("search").value) {
    const rest = left ? `${several(left, "clip")} of all ${left === 1 ? "is" : "are"} still to be asked.` : "None is left to be asked.";
    return element("div", { class: "finished" }, element("h2", {}, CLIPS.length ? "No clip matches." : "There are no clips."),
      element("p", {}, rest), ways(["show all clips", () => show("all")], ["to be asked", () => show("ask")]));
  }
  return element("div", { class: "finished" }, element("h2", {}, "Nothing is left to be asked."), element("ol", {},
    element("li", {}, "Save clips.csv."),
    element("li", {}, "Run ", command(), " with the other settings as before. It makes this page anew, with what it learned from your labels."),
    element("li", {}, "Look through what it suggests under “all clips”, “least sure first”; compare the clips of one view under “Choose”.")),
  ways(["Save clips.csv", save], ["show all clips", () => show("all")], ["choose between clips", () => change("choose")]));
}

function ways(...choices) {
  return element("p", { class: "ways" }, ...choices.map(([text, go]) => {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", go);
    return button;
  }));
}

function show(filter) {
  get("filter").value = filter;
  get("search").value = "";
  fresh();
}

function about() {
  get("about").replaceChildren(...(state.current ? aboutOf(state.current) : []));
  const clip = state.current, view = clip && viewOf(clip);
  for (const button of document.querySelectorAll("[data-view], #clear, #take")) button.disabled = !clip;
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(Boolean(clip) && byEye(clip) && view === button.dataset.view));
  get("take").lastElementChild.textContent = clip && isChosen(clip) ? `don't take it as ${view}` : view && view !== "other" ? `take it as ${view}` : "take this clip";
}

// The selected clip can be reached with Tab; the others with the arrows.
function select(clip, focus = true) {
  for (const node of visible()) {
    node.tabIndex = node.clip === clip ? 0 : -1;
    node.setAttribute("aria-selected", String(node.clip === clip));
  }
  state.current = clip;
  const node = clip && nodeOf(clip);
  if (node && focus) node.focus({ preventScroll: true });
  if (node) node.scrollIntoView({ block: "nearest" });
  about();
}

// After a decision: the marks anew; where it may have moved clips between places, their patients' rows anew.
function refresh(clips) {
  if (state.layout === "label") for (const node of visible()) dress(node);
  const patients = new Set(clips.map((clip) => clip.patient));
  for (const row of document.querySelectorAll(".patient")) if (patients.has(row.patient)) row.replaceWith(patientRow(row.patient));
  if (!state.current || !nodeOf(state.current)) select(visible()[0]?.clip ?? null, false);
  tell();
}

const done = (text) => say(open().length ? text : `${text} The screen is done: Enter brings the next.`);

function give(view) {
  const clip = state.current;
  if (!clip) return;
  const nodes = visible(), place = nodes.findIndex((node) => node.clip === clip);
  decide([labelled(clip, view)]);
  done(`${clip.patient}: ${view}.`);
  const next = nodes.slice(place + 1).find((node) => !byEye(node.clip));
  refresh([clip]);
  select(next && nodeOf(next.clip) ? next.clip : nodeOf(clip) ? clip : state.current);
}

function giveAll(view) {
  const clips = open();
  decide(clips.map((clip) => labelled(clip, view)));
  done(`${several(clips.length, "clip")}: ${view}.`);
  refresh(clips);
}

function accept() {
  if (state.layout === "choose") return take();
  const clips = suggested();
  if (!clips.length && !open().length) return turn(1);
  if (!clips.length) return say(`${several(open().length, "clip")} of this screen ${open().length === 1 ? "has" : "have"} no view yet: give one with 1 to 4 or 0.`);
  decide(clips.map((clip) => labelled(clip, viewOf(clip))));
  done(`${several(clips.length, "clip")} accepted.`);
  return refresh(clips);
}

function clear() {
  if (!state.current) return;
  say(decide([[state.current, undefined]]) ? `${state.current.patient}: label taken off` : "Only a label given on this page can be taken off.");
  refresh([state.current]);
  select(state.current);
}

function take() {
  const clip = state.current, view = clip && viewOf(clip);
  if (!clip) return;
  if (!view || view === "other") return void say("Give the clip one of the four views first.");
  decide(choiceOf(clip));
  say(isChosen(clip) ? `${clip.patient}: this clip is taken as ${view}` : `${clip.patient}: choice taken back`);
  refresh([clip]);
  select(clip);
}

// Back to the clip whose decision is undone, where it is in the list.
function takeBack() {
  const clips = undone();
  if (!clips) return say("Nothing to undo.");
  const place = state.items.indexOf(state.layout === "label" ? clips[0] : clips[0].patient);
  if (!nodeOf(clips[0]) && place >= 0) {
    state.first = place - place % state.count;
    render();
  }
  refresh(clips);
  if (nodeOf(clips[0])) select(clips[0]);
  return say(`Undone: ${several(clips.length, "clip")}.`);
}

function turn(step) {
  const next = state.first + step * state.count;
  if (next >= state.items.length && state.items.length) return around();
  state.first = Math.max(0, next);
  state.current = null;
  render();
  select(state.current);
  return say("");
}

// After the last screen: what is left of the list, or that nothing is.
function around() {
  const before = state.items;
  const left = listed();
  if (get("filter").value !== "ask" || left.length === before.length) say("That was the last screen.");
  if (get("filter").value !== "ask") return;
  fresh();
  if (left.length) say(`Again from the start: ${several(left.length, "clip")} still to be asked.`);
  select(state.current);
}

// Left and right in reading order, and over the ends of the screen; up and down to the nearest in the next row.
function move(key) {
  const nodes = visible(), place = nodes.findIndex((node) => node.clip === state.current);
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const step = key === "ArrowRight" ? 1 : -1;
    if (nodes[place + step]) return select(nodes[place + step].clip);
    if (step > 0 ? state.first + state.count >= state.items.length : state.first === 0) return undefined;
    turn(step);
    return step < 0 && select(visible().at(-1).clip);
  }
  if (place < 0) return undefined;
  const box = (node) => node.getBoundingClientRect();
  const here = box(nodes[place]), sign = key === "ArrowDown" ? 1 : -1;
  const away = nodes.filter((node) => sign * (box(node).top - here.top) > 20);
  const cost = (node) => 8 * Math.abs(box(node).top - here.top) + Math.abs(box(node).left - here.left);
  const [nearest] = away.sort((a, b) => cost(a) - cost(b));
  return nearest && select(nearest.clip);
}

function play(on) {
  document.body.classList.toggle("still", !on);
  get("play").textContent = on ? "■ stop" : "▶ play";
}

function save() {
  const link = element("a", { href: URL.createObjectURL(new Blob([savedText()], { type: "text/csv" })), download: "clips.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  saved.clear();
  for (const [id, label] of labels) saved.set(id, label);
  keep();
  tell();
  say(`${several(labels.size, "decision")} in clips.csv, where this browser puts downloads.`);
}

async function load() {
  const file = get("file").files[0];
  if (!file) return;
  const found = readLabels(await file.text());
  get("file").value = "";
  if (!found) return void say("Not a file that was saved here: it needs the columns clip and view.");
  decide(found.labels);
  for (const [clip, label] of found.labels) saved.set(clip.id, label);
  keep();
  refresh(CLIPS);
  const rest = [found.strange && `${several(found.strange, "row")} of clips that aren't on this page`, found.wrong && `${several(found.wrong, "row")} without a known view`];
  say([`${several(found.labels.length, "label")} loaded`, ...rest.filter(Boolean)].join("; ") + ".");
}

// Digits by the place of the key: with Shift, and on French keyboards without it, the key gives another sign.
function digitOf(event) {
  const place = /^Digit([0-4])$/.exec(event.code);
  return place ? place[1] : /^[0-4]$/.test(event.key) ? event.key : null;
}

function pressed(event) {
  if (document.querySelector("dialog[open]") || event.target.matches("input, select, textarea")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") takeBack();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if ((event.key === "Enter" || event.key === " ") && event.target.matches("button, summary")) return;
  else if (!act(event)) return;
  event.preventDefault();
}

// Whether the key means something. A key held down labels once, but moves and undoes on.
function act(event) {
  const digit = digitOf(event), key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const goes = { Backspace: takeBack, u: takeBack, n: () => turn(1), p: () => turn(-1) };
  const once = { Enter: accept, x: clear, c: take, " ": () => get("play").click(), "?": () => get("help").showModal(), "/": () => get("search").focus() };
  if (key.startsWith("Arrow")) move(key);
  else if (digit && !event.repeat) (event.shiftKey ? giveAll : give)(VIEWS.at(Number(digit) - 1));
  else if (!digit && goes[key]) goes[key]();
  else if (!digit && once[key] && !event.repeat) once[key]();
  else return digit !== null;
  return true;
}

// Buttons do what keys do; a click gives the keys back to the clips.
function clicks() {
  const doing = { save, undo: takeBack, accept, clear, take, back: () => turn(-1), forth: () => turn(1), load: () => get("file").click(),
    play: () => play(document.body.classList.contains("still")), "show-help": () => get("help").showModal(), "show-accuracy": () => get("accuracy").showModal() };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button"), node = event.target.closest(".clip");
    if (node) select(node.clip);
    if (!event.target.closest("#whole")) get("whole").open = false;
    if (!button || button.closest("dialog")) return;
    doing[button.id]?.();
    if (button.dataset.view) give(button.dataset.view);
    if (button.dataset.all) giveAll(button.dataset.all);
    if (button.dataset.all) get("whole").open = false;
    if (button.closest("#layout")) change(button.value);
    if (event.detail) button.blur();
    if (event.detail && state.current && !document.querySelector("dialog[open]") && button.id !== "load") select(state.current);
  });
}

function change(layout) {
  state.layout = layout;
  for (const button of get("layout").children) button.setAttribute("aria-pressed", String(button.value === layout));
  say("");
  get("size").disabled = layout === "choose";
  get("filter").value = layout === "choose" ? CLIPS.some(FILTERS.several[1]) ? "several" : "all" : CLIPS.some(isAsked) ? "ask" : "all";
  fresh();
}

function start() {
  remember();
  fill(get("filter"), Object.entries(FILTERS).map(([value, [text]]) => [value, text]));
  fill(get("order"), Object.entries(ORDERS));
  fill(get("size"), Object.entries(SIZES));
  get("size").value = "24";
  for (const id of ["filter", "order", "size"]) get(id).addEventListener("change", () => { fresh(); select(state.current); });
  get("search").addEventListener("input", fresh);
  get("search").addEventListener("keydown", (event) => { if (["Enter", "Escape"].includes(event.key) && state.current) select(state.current); });
  get("file").addEventListener("change", load);
  document.addEventListener("keydown", pressed);
  addEventListener("resize", render);
  // Another window with the same page: the labels are the same.
  addEventListener("storage", (event) => { if (event.key === KEY) { remember(); steps.length = 0; refresh(CLIPS); } });
  addEventListener("beforeunload", (event) => { if (!keeps && unsaved()) event.preventDefault(); });
  clicks();
  get("controls").hidden = get("actions").hidden = false;
  play(!calm);
  change("label");
  select(state.current);
}

start();
