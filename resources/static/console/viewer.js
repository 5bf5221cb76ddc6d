"use strict";

// The token comes in the fragment. It is taken out of the address bar at once, so that it is neither bookmarked
// nor shared by a copied address; the page keeps it for its own session alone.
(() => {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (window.location.hash) {
    window.history.replaceState(null, "", window.location.pathname);
  }

  const state = document.getElementById("state");
  const show = (id, text, kind) => {
    document.getElementById(id).hidden = false;
    state.textContent = text;
    state.dataset.kind = kind;
  };

  if (!token) {
    show("no-token", "No token", "bad");
    return;
  }
  const simulated = document.getElementById("screen").dataset.simulated === "yes";
  show("with-token", simulated ? "Simulated" : "Not connected", "idle");
})();
