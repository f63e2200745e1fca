// Asks the browser for a passkey and sends what it answers with the page's form. Served by the provider itself; reads
// nothing but the form, keeps nothing.
"use strict";
(() => {
  const form = document.getElementById("passkey");
  const go = document.getElementById("go");
  const trouble = document.getElementById("trouble");
  const summary = document.getElementById("trouble-summary");
  if (!form || !go) return;

  const tell = (words) => {
    trouble.textContent = words;
    summary.hidden = false;
    summary.focus();
    go.disabled = false;
  };
  if (!window.PublicKeyCredential) {
    tell("This browser has no passkeys.");
    return;
  }

  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join(""))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const fill = (name, buffer) => {
    form.elements[name].value = buffer ? text(buffer) : "";
  };

  const make = async (options) => {
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = options.excludeCredentials.map((one) => ({ ...one, id: bytes(one.id) }));
    const made = await navigator.credentials.create({ publicKey: options });
    fill("client_data", made.response.clientDataJSON);
    fill("attestation", made.response.attestationObject);
  };
  const use = async (options) => {
    const used = await navigator.credentials.get({ publicKey: options });
    fill("credential", used.rawId);
    fill("client_data", used.response.clientDataJSON);
    fill("authenticator_data", used.response.authenticatorData);
    fill("signature", used.response.signature);
    fill("user_handle", used.response.userHandle);
  };

  go.hidden = false;
  go.addEventListener("click", async () => {
    go.disabled = true;
    summary.hidden = true;
    try {
      const options = JSON.parse(form.dataset.options);
      options.challenge = bytes(options.challenge);
      await (form.dataset.kind === "create" ? make(options) : use(options));
    } catch (error) {
      const known = error.name === "InvalidStateError";
      tell(known ? "This device holds a passkey of yours already." : `No passkey was used (${error.name}). Try again.`);
      return;
    }
    form.submit();
  });
})();
