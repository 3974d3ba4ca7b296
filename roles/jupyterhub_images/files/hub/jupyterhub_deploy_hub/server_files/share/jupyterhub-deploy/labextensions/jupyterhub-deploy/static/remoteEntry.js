// A prebuilt extension of JupyterLab and Notebook 7, written by hand: it needs no build and nothing of theirs.
// It tells the server that its user works in the page, warns before the hub stops a server that nobody uses, says when an
// unused kernel has ended, and warns of the limit of the disk.
"use strict";

(() => {
  const MOST_SECONDS = 60; // between two questions

  let url, xsrf, hubHome;
  let used = true; // since the last question; opening the page counts
  let asking = false;
  let timer, notice, stopsAt;
  let stopping = false; // the notice is about the end of the server, which use may prevent
  let closed = ""; // the notice about the disk that the user has closed

  function activate() {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    url = config.baseUrl.replace(/\/*$/, "/jupyterhub-deploy/idle");
    hubHome = (config.hubHost || "") + (config.hubPrefix || "/hub/") + "home";
    xsrf = () => (document.cookie.match(/\b_xsrf=([^;]*)/) || [])[1] || "";
    for (const type of ["keydown", "pointerdown", "touchstart", "wheel"]) {
      window.addEventListener(type, use, { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => document.hidden || check());
    check();
  }

  function use() {
    used = true;
    if (stopping) check();
  }

  async function check() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    let pause = MOST_SECONDS;
    const method = used ? "POST" : "GET";
    used = false;
    try {
      const answer = await ask(method);
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const state = await answer.json();
      const stops = state.stops_in !== null;
      if (!stops && !state.ends_kernels && !state.disk) return; // there is nothing to warn of
      if (stops) {
        pause = Math.min(MOST_SECONDS, Math.max(1, state.warn_before / 4));
        stopsAt = Date.now() + 1000 * state.stops_in;
      }
      stopping = stops && state.stops_in <= state.warn_before;
      if (stopping) show(warning(state.can_stay), state.can_stay ? "Keep it running" : "", use);
      else if (state.ended_kernels) show(ended(state.ended_kernels), "OK", forget);
      else showDisk(state.disk || {});
      if (used && stopping) pause = 0; // a click during this question
    } catch (error) {
      used = used || method === "POST";
      if (stopping && Date.now() > stopsAt) show("This server has stopped. Your files are kept.", "", use, hubHome);
    } finally {
      asking = false;
    }
    timer = setTimeout(check, 1000 * pause);
  }

  function ask(method) {
    return fetch(url, { method, cache: "no-store", headers: { "X-XSRFToken": xsrf() } });
  }

  function forget() {
    hide();
    ask("DELETE").catch(() => {}); // then it is shown again
  }

  function ended(number) {
    const what = number === 1 ? "A kernel has ended because nobody used it" : `${number} unused kernels have ended`;
    return `${what}. Variables are lost; your files are kept.`;
  }

  function warning(canStay) {
    const time = new Date(stopsAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const reason = canStay ? "nobody uses it" : "it has run for as long as this hub allows";
    return `This server stops at about ${time} because ${reason}. Your files are kept; running kernels end.`;
  }

  function showDisk(disk) {
    const level = disk.warning ? (disk.used > disk.limit ? "over" : "near") : "";
    if (level !== closed) closed = "";
    if (!level || closed) return hide();
    const close = () => {
      closed = level;
      hide();
    };
    show(disk.warning, "Close", close);
  }

  function hide() {
    if (notice) notice.remove();
    notice = undefined;
  }

  function show(text, button, click, link) {
    if (notice && notice.dataset.text === text) return; // a screen reader would read it again
    hide();
    notice = document.createElement("div");
    notice.id = "jupyterhub-deploy-idle";
    notice.dataset.text = text;
    notice.setAttribute("role", "alert");
    notice.style.cssText =
      "position:fixed;right:1rem;bottom:2.5rem;z-index:10000;max-width:24rem;padding:1rem;font-size:14px;" +
      "font-family:var(--jp-ui-font-family,sans-serif);color:var(--jp-ui-font-color1,#000);border-radius:4px;" +
      "background:var(--jp-layout-color1,#fff);border:2px solid var(--jp-warn-color1,#c60);box-shadow:0 2px 8px #0006";
    document.body.append(notice); // first empty: a change of an alert is what screen readers read
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    paragraph.style.margin = "0 0 0.5rem";
    notice.append(paragraph);
    if (button) {
      const element = document.createElement("button");
      element.textContent = button;
      element.className = "jp-mod-styled jp-mod-accept";
      element.addEventListener("click", click);
      notice.append(element);
    }
    if (link) {
      const element = document.createElement("a");
      element.textContent = "Start it again";
      element.href = link;
      notice.append(element);
    }
  }

  const container = (window._JUPYTERLAB = window._JUPYTERLAB || {});
  container["jupyterhub-deploy"] = {
    init() {},
    get: async () => () => ({ id: "jupyterhub-deploy:idle", autoStart: true, activate }),
  };
})();
