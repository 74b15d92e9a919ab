// Enrolls photos: shows the chosen photos with their people, and sends some in parallel.

const version = new URL(import.meta.url).search;
const { Problem, at, fill, post, showProblem, wordsOf } = await import(`./admin_send.js${version}`);
const { takeFiles } = await import(`./admin_drop.js${version}`);

const PARALLEL_REQUESTS = 3;
const PROGRESS_INTERVAL = 5000; // milliseconds between two messages about the progress

for (const form of document.querySelectorAll("form.enroll")) enrolling(form);

function enrolling(form) {
  const words = wordsOf(form);
  const part = (name) => form.querySelector(`.${name}`);
  const [start, cancel, show, whole, rows] = ["start", "cancel", "show", "whole", "rows"].map(part);
  const template = form.querySelector("template");
  const inputs = [...form.querySelectorAll("input, select")];
  const email = form.elements.email;
  let chosen = [];

  form.hidden = false;
  part("folder")?.toggleAttribute("hidden", !("webkitdirectory" in HTMLInputElement.prototype));
  takeFiles(part("drop"), (found) => {
    if (!cancel.hidden) return; // photos are being sent
    chosen = found
      .filter(({ file, path }) => isPhoto(file) && !isHidden(path))
      .sort((one, other) => one.path.localeCompare(other.path))
      .map(({ file, path }) => ({ file, path, person: personOf(path), row: newRow(template) }));
    rows.replaceChildren(...chosen.map(({ row }) => row));
    show.hidden = true;
    part("report").textContent = "";
    showChosen();
  });
  email?.addEventListener("input", showChosen);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (email && !email.reportValidity()) return;
    const controller = new AbortController();
    const stop = () => controller.abort();
    cancel.addEventListener("click", stop);
    cancel.hidden = false;
    for (const element of [start, ...inputs]) element.disabled = true;
    cancel.focus();
    await sendAll(controller.signal, stop);
    cancel.removeEventListener("click", stop);
    for (const element of inputs) element.disabled = false;
    show.hidden = false;
    show.focus();
    cancel.hidden = true;
    chosen = [];
  });

  /** Shows the chosen photos, and the people that they will be enrolled for. */
  function showChosen() {
    const onePerson = form.dataset.url !== "/api/v1/photos" || email.value.trim() !== "";
    for (const { file, path, person, row } of chosen) {
      row.querySelector(".file").textContent = path;
      row.querySelector(".who").textContent = onePerson ? (email?.value.trim() ?? "") : person;
      state(row, "waiting");
      row.dataset.size = file.size;
    }
    const people = onePerson ? Math.min(1, chosen.length) : new Set(chosen.map(({ person }) => person)).size;
    part("chosen").textContent = chosen.length ? fill(words.chosen, { photos: chosen.length, people }) : words.nothing;
    start.disabled = !chosen.length;
  }

  async function sendAll(signal, stop) {
    const count = { added: 0, there: 0, refused: 0, cancelled: 0 };
    const all = chosen.length;
    const waiting = chosen.values(); // shared by the senders
    let announced = Date.now();
    whole.max = all;
    whole.value = 0;
    whole.hidden = false;
    const sender = async () => {
      for (const one of waiting) {
        const outcome = await send(one, signal, stop);
        count[outcome] += 1;
        whole.value += 1;
        if (Date.now() - announced > PROGRESS_INTERVAL) {
          announced = Date.now();
          part("report").textContent = fill(words.progress, { done: whole.value, all });
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_REQUESTS }, sender));
    whole.hidden = true;
    part("report").textContent = fill(words.summary, count);
  }

  async function send({ file, person, row }, signal, stop) {
    const progress = row.querySelector("progress");
    const end = (outcome) => {
      progress.hidden = true;
      state(row, outcome);
      return outcome;
    };
    if (signal.aborted) return end("cancelled");
    if (file.size > Number(form.dataset.mostBytes)) {
      const why = row.querySelector(".why");
      why.querySelector(".reason").textContent = words.too_large;
      why.hidden = false;
      return end("refused");
    }
    state(row, "sending");
    progress.hidden = false;
    try {
      const answer = await post(form.dataset.url, filled(file, person), {
        signal,
        idempotent: true,
        onSent: (share) => {
          progress.value = share;
          if (share === 1) {
            progress.removeAttribute("value"); // the remaining time is not known
            state(row, "working");
          }
        },
        onWait: (why) => state(row, why),
      });
      link(row.querySelector(".who"), answer.user);
      if (answer.left_aside.length) leftAside(row, answer.left_aside);
      return end(answer.added ? "added" : "there");
    } catch (error) {
      if (error.name === "AbortError") return end("cancelled");
      showProblem(row.querySelector(".why"), error, words);
      if (error instanceof Problem && error.status === 401) stop(); // the service would refuse the others too
      return end("refused");
    }
  }

  function leftAside(row, boxes) {
    const sizes = boxes.map(({ width, height }) => `${Math.round(width)}×${Math.round(height)}`).join(", ");
    const why = row.querySelector(".why");
    why.querySelector(".reason").textContent = fill(words.left_aside, { sizes });
    why.hidden = false;
  }

  function filled(file, person) {
    const data = new FormData();
    data.set("photo", file, file.name);
    data.set("face", form.elements.face.value);
    if (form.elements.allow?.checked) data.set("allow_other_user", "true");
    if (email) {
      if (email.value.trim()) data.set("email", email.value.trim());
      else data.set("name", person);
    }
    return data;
  }

  function state(row, name) {
    row.dataset.state = name;
    row.querySelector(".state").textContent = words[name];
  }
}

function newRow(template) {
  return template.content.firstElementChild.cloneNode(true);
}

function isPhoto(file) {
  // A file of an unknown type is sent, and the service decides.
  return file.type === "" ? !/\.(txt|csv|json|md|pdf|zip|db|ini)$/i.test(file.name) : file.type.startsWith("image/");
}

function isHidden(path) {
  return path.split("/").some((name) => name.startsWith("."));
}

/** Returns the name of the person in a photo: the name of its folder, or of the file. */
function personOf(path) {
  const names = path.split("/");
  return names.length > 1 ? names.at(-2) : names[0].replace(/\.[^.]*$/, "");
}

function link(element, user) {
  if (element.textContent === "") return; // the page of one person
  const anchor = document.createElement("a");
  anchor.href = at(`/admin/people/${user.id}`);
  anchor.textContent = user.name;
  element.replaceChildren(anchor);
}
