// Lets a person follow a challenge: shows hints for the position, then sends frames and shows where to look next.

import { close, light, next, open, pause, picture, say, word } from "./camera.js";

const FRAME_INTERVAL = 100; // the minimum of milliseconds between two frames; the server checks every part of a turn
const MIN_FRAMES = 4; // of one request
const MAX_FRAMES = 20; // of one request; the server accepts no more
const FRAME_SIDE = 480; // pixels of the shorter side; to measure motion inside the face, the face needs 70 of them
const HINT_SIDE = 240;
const HINT_INTERVAL = 300; // milliseconds
const HINT_RETRY_INTERVAL = 2000; // milliseconds after a hint that failed
const GOOD_HINTS = 2; // in a row, after which the challenge starts

const $ = (id) => document.getElementById(id);
const [form, stage, video, saying, progress, result] = ["who", "stage", "camera", "say", "progress", "result"].map($);

let cancelled = null; // the AbortController of the current challenge

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

// Returns the URL of a path of this service, which may be below a path of a shared host.
const at = (path) => new URL(`..${path}`, import.meta.url);

export async function post(path, body, signal, headers = {}) {
  const answer = await fetch(at(path), { method: "POST", body, signal, headers });
  if (!answer.ok) {
    throw new Refused(answer);
  }
  return answer;
}

async function hint(ask, signal) {
  try {
    return (await (await ask(await picture(video, HINT_SIDE, 0.8), signal)).json()).hint;
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

// Waits until the user is in position or chooses to start. The server sends hints, unless it is busy.
async function waitForPosition(ask, signal) {
  let ready = false;
  $("start").onclick = () => {
    ready = true;
  };
  $("start").hidden = false;
  say(saying, word("guide"));
  for (let good = 0; !ready && good < GOOD_HINTS && !signal.aborted; ) {
    const received = await hint(ask, signal);
    const where = received === "ok" ? "ok" : (light(video) ?? received ?? "guide");
    say(saying, word(where));
    stage.classList.toggle("good", where === "ok");
    good = where === "ok" ? good + 1 : 0;
    for (let waited = 0; !ready && waited < (received ? HINT_INTERVAL : HINT_RETRY_INTERVAL); waited += 50) {
      await pause(50);
    }
  }
  $("start").hidden = true;
  stage.classList.remove("good");
}

function showPose(pose, done) {
  say(saying, word(`turn-${pose}`));
  stage.dataset.turn = pose; // shows the arrow
  progress.value = 100 * done;
}

// Takes frames continuously, even while the server checks earlier ones, so that no part of a turn is missing.
function record(signal) {
  const taken = [];
  let failure = null;
  const running = (async () => {
    while (!signal.aborted) {
      if (taken.length >= MAX_FRAMES) {
        await pause(FRAME_INTERVAL);
        continue;
      }
      const wait = pause(FRAME_INTERVAL);
      await next(video);
      taken.push(await picture(video, FRAME_SIDE));
      await wait;
    }
  })().catch((error) => {
    failure = error;
  });
  return {
    running,
    // Returns the frames since the last request, in order.
    async some() {
      while (taken.length < MIN_FRAMES) {
        signal.throwIfAborted();
        if (failure) {
          throw failure;
        }
        await pause(FRAME_INTERVAL / 2);
      }
      return taken.splice(0);
    },
  };
}

async function sendAgainIfBusy(send, frames, signal, tries = 3) {
  try {
    return await send(frames, signal);
  } catch (error) {
    // A busy service has not checked the frames, so they can be sent again. Any other error ends the challenge.
    const busy = error instanceof Refused && error.answer.status === 503 && (await error.answer.json()).code === "service-busy";
    if (!busy || tries === 1) {
      throw error;
    }
    await pause(1000);
    return sendAgainIfBusy(send, frames, signal, tries - 1);
  }
}

function explain(answer) {
  if (answer.status === 429) {
    const seconds = answer.headers.get("Retry-After");
    return seconds === "1" ? word("wait-one") : word("wait").replace("{}", seconds);
  }
  return word([401, 404, 422].includes(answer.status) ? "refused" : "busy");
}

async function follow({ start, ask, send, finish }, signal) {
  const pose = await start(signal);
  await open(video);
  await waitForPosition(ask, signal);
  signal.throwIfAborted();
  showPose(pose, 0);
  const stopped = new AbortController();
  const camera = record(AbortSignal.any([signal, stopped.signal]));
  try {
    for (;;) {
      const answer = await sendAgainIfBusy(send, await camera.some(), signal);
      if (answer.status !== 202) {
        progress.value = 100;
        say(saying, word("done"));
        await finish(answer);
        return;
      }
      const step = await answer.json();
      showPose(step.pose, step.progress);
    }
  } finally {
    stopped.abort();
    await camera.running;
    close(video);
    stage.dataset.turn = "";
  }
}

// Starts the challenge when the form is sent.
//
// start: begins the challenge, and returns the first pose.
// ask: sends a frame, and returns the response with a hint.
// send: sends the next frames, and returns the response.
// finish: uses the last response.
export function offer(actions) {
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
      await follow(actions, signal);
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
}
