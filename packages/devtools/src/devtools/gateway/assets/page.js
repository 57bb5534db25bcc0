// Shows what /dev/overview.json says, every second and a half while somebody looks. Whatever comes
// from a request or a service is put in as text, never as HTML.
"use strict";

const POLL_MILLISECONDS = 1500;
const TONES = { healthy: "good", degraded: "fair", "not started": "quiet", "": "quiet" };
const shown = new Map();

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function link(url, text, label) {
  return element("a", label ? { href: url, "aria-label": label } : { href: url }, text);
}

function copyable(text, copied = text) {
  const button = element("button", { type: "button", title: `Copy ${copied}` }, text);
  button.dataset.copied = copied;
  return button;
}

function toneOf(status) {
  return status >= 500 ? "bad" : status >= 400 ? "fair" : "good";
}

function duration(milliseconds) {
  return milliseconds < 10_000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function serviceCard(service) {
  const state = service.health || "starting";
  const tone = TONES[service.health] ?? "bad";
  const card = element(
    "li",
    {},
    element(
      "div",
      { class: "top" },
      element("h3", {}, service.name),
      element("span", { class: "pill", "data-tone": tone }, state),
    ),
  );
  if (service.detail) {
    card.append(element("p", { class: "quiet" }, service.detail));
  }
  if (service.docs) {
    card.append(
      element(
        "p",
        { class: "links" },
        link(service.docs, "API documentation", `API documentation of ${service.name}`),
        link(service.redoc, "Reference", `Reference of ${service.name}`),
        link(service.url, "Direct", `${service.name} without the gateway`),
      ),
    );
  }
  const paths = service.paths.map((path) => element("li", {}, path));
  card.append(
    element("ul", { class: "paths mono", "aria-label": `Paths of ${service.name}` }, ...paths),
  );
  return card;
}

function loginCard(login) {
  return element(
    "li",
    {},
    element("h3", {}, login.who),
    element(
      "dl",
      {},
      element("dt", {}, "E-mail"),
      element("dd", {}, copyable(login.email)),
      element("dt", {}, "Password"),
      element("dd", {}, copyable(login.password)),
    ),
  );
}

function requestRow(request, tracing) {
  const time = new Date(request.at).toLocaleTimeString();
  const status = element("span", { class: "pill", "data-tone": toneOf(request.status) });
  status.append(String(request.status));
  const id = element("td", { class: "mono" });
  if (request.request_id) {
    const traced = tracing && request.service !== "gateway";
    const copied = traced ? `./dev trace ${request.request_id}` : request.request_id;
    id.append(copyable(request.request_id, copied));
  }
  return element(
    "tr",
    {},
    element("td", { class: "mono" }, element("time", { datetime: request.at }, time)),
    element("td", {}, request.service),
    element("td", { class: "mono" }, request.method),
    element("td", { class: "path" }, request.path),
    element("td", {}, status),
    element("td", { class: "number" }, duration(request.milliseconds)),
    id,
  );
}

// What has not changed stays, and with it what has the focus or is selected.
function show(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) {
    return;
  }
  shown.set(id, text);
  const focused = byId(id).contains(document.activeElement)
    ? document.activeElement.dataset.copied
    : undefined;
  byId(id).replaceChildren(...make());
  if (focused !== undefined) {
    byId(id).querySelector(`[data-copied="${CSS.escape(focused)}"]`)?.focus();
  }
}

function summarise(text, tone) {
  const summary = byId("summary");
  if (summary.textContent !== text) {
    summary.textContent = text;
  }
  summary.dataset.tone = tone;
}

function summary(overview) {
  if (overview.phase !== "ready") {
    return [`The system is ${overview.phase}`, "fair"];
  }
  const running = overview.services.filter((service) => service.health !== "not started");
  const unwell = running.filter((service) => service.health !== "healthy");
  if (unwell.length === 0) {
    return [running.length === 1 ? "1 service, healthy" : `${running.length} services, all healthy`, "good"];
  }
  const worst = unwell.every((service) => service.health === "degraded") ? "fair" : "bad";
  return [unwell.map((service) => `${service.name}: ${service.health || "starting"}`).join(", "), worst];
}

function render(overview) {
  show("addresses", overview.addresses, () => overview.addresses.map((url) => link(url, url)));
  byId("certificate").hidden = !overview.certificate;
  show("certificate", overview.certificate, () => [
    "Root certificate: ",
    copyable(overview.certificate),
  ]);
  show("services", overview.services, () => overview.services.map(serviceCard));
  show("logins", overview.logins, () => overview.logins.map(loginCard));
  byId("no-logins").hidden = overview.logins.length > 0;
  const rows = [overview.requests, overview.tracing];
  show("requests", rows, () =>
    overview.requests.map((request) => requestRow(request, overview.tracing)),
  );
  byId("no-requests").hidden = overview.requests.length > 0;
  byId("requests-box").hidden = overview.requests.length === 0;
  byId("tracing").hidden = overview.requests.length === 0;
  byId("tracing").textContent = overview.tracing
    ? "A request id copies the command that shows the request's trace."
    : "./dev up --telemetry keeps a trace of each request, which ./dev trace shows.";
  summarise(...summary(overview));
}

async function look() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("/dev/overview.json");
      if (!answer.ok) {
        throw new Error(String(answer.status));
      }
      render(await answer.json());
    } catch {
      summarise("No answer: the system has ended, or starts again", "bad");
    }
  }
  setTimeout(look, POLL_MILLISECONDS);
}

let copiedTimer;

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copied]");
  if (button === null) {
    return;
  }
  await navigator.clipboard.writeText(button.dataset.copied);
  byId("copied").textContent = `Copied: ${button.dataset.copied}`;
  clearTimeout(copiedTimer);
  copiedTimer = setTimeout(() => byId("copied").replaceChildren(), 2000);
});

byId("example").textContent = `curl ${location.origin}/.well-known/jwks.json`;
look();
