// Logs a user in by face: helps them into position, then sends frames and shows where to look next.

import { close, light, next, open, pause, picture, say, word } from "./camera.js";

const EVERY = 100; // milliseconds from picture to picture at least: the server wants to see every part of a turn
const TOGETHER = 4; // pictures of one request at least
const MOST = 20; // the server takes no more in one request
const FRAME_SIDE = 480; // pixels of the shorter side: the motion inside of a face needs 70 of them at least
const GLIMPSE_SIDE = 240;
const BETWEEN_HINTS = 300; // milliseconds
const HINTS_AWAY = 2000; // milliseconds until they are asked for again
const GOOD_HINTS = 2; // in a row, before it begins by itself

const $ = (id) => document.getElementById(id);
const [form, stage, video, saying, progress, result] = ["who", "stage", "camera", "say", "progress", "result"].map($);

let cancelled = null; // an AbortController while something is under way

function showForm() {
  close(video);
  stage.hidden = true;
  stage.dataset.turn = "";
  form.hidden = false;
}

function showResult(text) {
  showForm();
  result.textContent = text;
  result.hidden = false;
  result.focus();
}

class Refused extends Error {
  constructor(answer) {
    super("refused");
    this.answer = answer;
  }
}

// The address of a path of this service, which may be below a path of a shared host.
const at = (path) => new URL(`..${path}`, import.meta.url);

async function post(path, body, signal, headers = {}) {
  const answer = await fetch(at(path), { method: "POST", body, signal, headers });
  if (!answer.ok) {
    throw new Refused(answer);
  }
  return answer;
}

async function challenge(signal) {
  const who = JSON.stringify(Object.fromEntries(new FormData(form)));
  const answer = await post("/api/v1/auth/challenge", who, signal, { "Content-Type": "application/json" });
  return answer.json();
}

async function hint(token, signal) {
  const glimpse = new FormData();
  glimpse.append("challenge", token);
  glimpse.append("frame", await picture(video, GLIMPSE_SIDE, 0.8), "glimpse.jpg");
  try {
    return (await (await post("/api/v1/auth/hint", glimpse, signal)).json()).hint;
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

// Waits until the user is in position, or says so. The server sends hints, but not if it is busy.
async function position(token, signal) {
  let ready = false;
  $("start").onclick = () => {
    ready = true;
  };
  $("start").hidden = false;
  say(saying, word("guide"));
  for (let good = 0; !ready && good < GOOD_HINTS && !signal.aborted; ) {
    const told = await hint(token, signal);
    const where = told === "ok" ? "ok" : (light(video) ?? told ?? "guide");
    say(saying, word(where));
    stage.classList.toggle("good", where === "ok");
    good = where === "ok" ? good + 1 : 0;
    for (let waited = 0; !ready && waited < (told ? BETWEEN_HINTS : HINTS_AWAY); waited += 50) {
      await pause(50);
    }
  }
  $("start").hidden = true;
  stage.classList.remove("good");
}

function ask(pose, done) {
  say(saying, word(`turn-${pose}`));
  stage.dataset.turn = pose; // shows the arrow
  progress.value = 100 * done;
}

// Takes pictures all the time, even while the server checks the last ones, so that a turn is complete.
function record(signal) {
  const taken = [];
  let failure = null;
  const running = (async () => {
    while (!signal.aborted) {
      if (taken.length >= MOST) {
        await pause(EVERY);
        continue;
      }
      const wait = pause(EVERY);
      await next(video);
      taken.push(await picture(video, FRAME_SIDE));
      await wait;
    }
  })().catch((error) => {
    failure = error;
  });
  return {
    running,
    // The pictures since the last request, in order.
    async some() {
      while (taken.length < TOGETHER) {
        signal.throwIfAborted();
        if (failure) {
          throw failure;
        }
        await pause(EVERY / 2);
      }
      return taken.splice(0);
    },
  };
}

async function send(token, frames, signal, tries = 3) {
  const answer = new FormData();
  answer.append("challenge", token);
  answer.append("next", form.dataset.next);
  frames.forEach((frame, number) => answer.append("frames", frame, `${number}.jpg`));
  try {
    return await post("/login/face", answer, signal);
  } catch (error) {
    // A busy service has not checked the pictures yet. Any other error ends the challenge.
    const busy = error instanceof Refused && error.answer.status === 503 && (await error.answer.json()).code === "service-busy";
    if (!busy || tries === 1) {
      throw error;
    }
    await pause(1000);
    return send(token, frames, signal, tries - 1);
  }
}

function explain(answer) {
  if (answer.status === 429) {
    const seconds = answer.headers.get("Retry-After");
    return seconds === "1" ? word("wait-one") : word("wait").replace("{}", seconds);
  }
  return word(answer.status === 401 || answer.status === 422 ? "refused" : "busy");
}

async function logIn(signal) {
  const { token, pose } = await challenge(signal);
  await open(video);
  await position(token, signal);
  signal.throwIfAborted();
  ask(pose, 0);
  const stopped = new AbortController();
  const camera = record(AbortSignal.any([signal, stopped.signal]));
  try {
    for (;;) {
      const answer = await send(token, await camera.some(), signal);
      if (answer.status !== 202) {
        progress.value = 100;
        say(saying, word("done"));
        location.assign((await answer.json()).next);
        return;
      }
      const asked = await answer.json();
      ask(asked.pose, asked.progress);
    }
  } finally {
    stopped.abort();
    await camera.running;
    close(video);
    stage.dataset.turn = "";
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  result.hidden = true;
  form.hidden = true;
  stage.hidden = false;
  progress.value = 0;
  say(saying, word("opening"));
  saying.focus();
  cancelled = new AbortController();
  const { signal } = cancelled;
  try {
    await logIn(signal);
  } catch (error) {
    if (signal.aborted) {
      showForm();
      $("begin").focus();
    } else if (error instanceof Refused) {
      showResult(explain(error.answer));
    } else {
      showResult(word(["denied", "missing", "insecure"].includes(error.message) ? error.message : "busy"));
    }
  }
});

$("cancel").addEventListener("click", () => cancelled?.abort());
window.addEventListener("pagehide", () => close(video));

form.hidden = false;
