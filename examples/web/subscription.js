"use strict";

// Follows one membership over server-sent events. EventSource cannot send a key, so the stream is read with fetch.
const given = new URLSearchParams(location.hash.slice(1));
const url = given.get("url") || "/graphql";
const place = `cursor of ${given.get("membership")}`; // a reload goes on where the page was

const QUERY = `subscription ($id: ID, $after: String) {
  membershipStatusChanged(membershipId: $id, after: $after) {
    kind cursor occurredAt membership { status }
  }
}`;

const show = (id, text) => { document.getElementById(id).textContent = text; };

function told(event) {
  sessionStorage.setItem(place, event.cursor);
  show("status", event.membership.status);
  const line = document.createElement("li");
  line.textContent = `${event.occurredAt} ${event.kind} ${event.membership.status}`;
  document.getElementById("events").append(line);
}

// One connection: resolves to the code that ended it, undefined where it was cut.
async function listen() {
  const answer = await fetch(url, {
    method: "POST",
    headers: {
      "Authorization": `Bearer ${given.get("key")}`,
      "Content-Type": "application/json",
      "Accept": "text/event-stream",
    },
    body: JSON.stringify({
      query: QUERY,
      variables: { id: given.get("membership"), after: sessionStorage.getItem(place) },
    }),
  });
  if (!answer.ok || !answer.body) throw new Error(`answered ${answer.status}`);
  show("connection", "connected");
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return undefined;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      const { data: happened, errors } = JSON.parse(data.slice(6));
      if (errors) return errors[0].extensions.code;
      told(happened.membershipStatusChanged);
    }
  }
}

async function follow() {
  for (let wait = 500; ; wait = Math.min(wait * 2, 30000)) {
    let ended;
    try {
      ended = await listen();
      wait = 500;
    } catch (error) {
      ended = error.message;
    }
    // what happened meanwhile is no longer kept: begin anew with the present state
    if (ended === "CURSOR_EXPIRED") sessionStorage.removeItem(place);
    if (ended === "NOT_FOUND" || ended === "UNAUTHENTICATED") return show("connection", ended);
    show("connection", ended || "reconnecting");
    await new Promise((again) => setTimeout(again, wait * (0.5 + Math.random())));
  }
}

follow();
