// How a clip looks: its film, its marks, and the two layouts.

const films = cutFilms();
const percent = (share) => `${Math.round(100 * share)}\u202f%`;
const daysOf = (clip) => known(clip.days) ? `${clip.days > 0 ? "+" : clip.days < 0 ? "−" : ""}${Math.abs(clip.days)} d` : "";
const several = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

// A film's text is a slice of the whole; the element with the whole is let go.
function cutFilms() {
  const holder = get("films");
  const all = holder.textContent.split("\n");
  holder.remove();
  return all;
}

// Look and words of what is known of a clip's view; short where the column names the view.
function markOf(clip, short = false) {
  const view = viewOf(clip), source = sourceOf(clip), name = short ? "" : view;
  const sure = known(clip.probability) ? ` ${percent(clip.probability)}` : "";
  if (source === "eye") return ["eye", `✓ ${name}`, `${view} by eye`];
  if (source === "tags") return ["tags", `${name} tag`, `${view} by tag`];
  if (!view) return ["none", "?", "no view yet"];
  return source ? ["suggested", name + sure, `${view} suggested${sure}`] : ["ask", `${name}?${short ? sure.trim() : sure}`, `perhaps ${view}${sure}`];
}

function card(clip) {
  const node = element("article", { class: "clip", role: "option", tabindex: "-1" });
  node.clip = clip;
  node.style.setProperty("--cycle-time", `${Math.min(3000, Math.max(200, clip.rr ?? 1000))}ms`);
  node.style.setProperty("--frames", DATA.frames);
  const film = films[clip.index];
  const picture = film ? element("img", { src: `data:image/webp;base64,${film}`, alt: "", draggable: "false" })
    : element("span", { class: "no-film" }, "no picture");
  node.append(element("div", { class: "picture" }, picture),
    element("div", { class: "whose" }, state.layout === "choose" ? element("span", {}, daysOf(clip)) : element("bdi", {}, clip.patient)));
  dress(node);
  return node;
}

// All that changes with a decision.
function dress(node) {
  const clip = node.clip, choosing = state.layout === "choose";
  const [kind, text, spoken] = markOf(clip, choosing);
  const place = viewOf(clip) && viewOf(clip) !== "other" ? candidates(clip.patient, viewOf(clip)) : [];
  const taken = takenOf(place) === clip;
  node.querySelectorAll(".tag, .star, .reason, .doubt").forEach((old) => old.remove());
  node.classList.toggle("by-eye", kind === "eye");
  node.classList.toggle("taken", choosing && taken);
  const box = node.querySelector(".picture");
  node.querySelector(".whose").prepend(element("span", { class: `tag ${kind} ${viewOf(clip).toLowerCase()}` }, text));
  if (isChosen(clip) || (choosing && taken)) box.append(element("span", { class: "star" }, isChosen(clip) ? "★ chosen" : "taken"));
  if (clip.doubt && kind !== "eye") box.append(element("span", { class: "doubt", title: clip.doubt }, "doubtful"));
  const reason = choosing && !taken ? reasonOf(clip, place) : "";
  if (reason) node.append(element("p", { class: "reason", title: reason }, reason));
  const said = [`patient ${clip.patient}`, daysOf(clip), spoken, isChosen(clip) ? "your choice" : taken ? "taken" : "", clip.doubt && `doubtful: ${clip.doubt}`];
  node.setAttribute("aria-label", said.filter(Boolean).join(", "));
}

function reasonOf(clip, place) {
  if (place.some(isChosen)) return "you took another";
  if (isAsked(clip)) return "not sure of its view yet";
  if (viewOf(clip) !== clip.view || !takenOf(place)) return "decided at the next run";
  return clip.why;
}

// The line under the screen: all that is known of the selected clip.
function aboutOf(clip) {
  const place = candidates(clip.patient, viewOf(clip) || " ");
  const [kind, , spoken] = markOf(clip);
  const reason = !isAsked(clip) && takenOf(place) !== clip ? reasonOf(clip, place) : "";
  const study = known(clip.days) ? `study ${clip.days === 0 ? "on the day" : several(Math.abs(clip.days), "day")} ${clip.days < 0 ? "before" : clip.days > 0 ? "after" : "of"} the catheterisation` : "";
  const parts = [study, clip.facts, spoken, kind !== "eye" && clip.doubt ? `doubtful: ${clip.doubt}` : "", reason && viewOf(clip) !== "other" ? `not taken: ${reason}` : ""];
  return [element("strong", {}, element("bdi", {}, clip.patient)), ...parts.filter(Boolean).map((part) => element("span", {}, part))];
}

// A patient's row: the candidates of each view side by side.
function patientRow(patient) {
  const row = element("section", { class: "patient", role: "presentation" });
  row.patient = patient;
  const rest = BY_PATIENT.get(patient).filter((clip) => !viewOf(clip) || viewOf(clip) === "other").length;
  row.append(element("h2", {}, element("bdi", {}, patient), element("small", {}, rest ? `and ${several(rest, "clip")} of another view, or of none yet` : "")));
  for (const view of VIEWS.slice(0, -1)) {
    const place = candidates(patient, view);
    const cards = place.length ? place.map(card) : [element("p", { class: "missing" }, "no clip")];
    row.append(element("div", { class: "place", role: "group", "aria-label": `${patient}, ${view}` }, element("h3", {}, view), ...cards));
  }
  return row;
}
