// Signing in: a token is pasted and stays in this tab.

import { useState } from "preact/hooks";
import { visible } from "./format.js";
import { useFocus } from "./hooks.js";
import { Command, ProblemBox } from "./ui.jsx";

export function SignIn({ ways, problem, signIn }) {
  const [secret, setSecret] = useState("");
  const field = useFocus();
  const submit = (event) => {
    event.preventDefault();
    if (secret.trim()) signIn(secret.trim());
  };
  return (
    <section class="narrow">
      <h1>Sign in</h1>
      <p>This host asks every caller to sign in. The token stays in this tab, and is gone when the tab is closed.</p>
      <form onSubmit={submit}>
        <label>
          <span>Token</span>
          <input ref={field} type="password" autocomplete="off" value={secret} onInput={(event) => setSecret(event.currentTarget.value)} />
        </label>
        <button type="submit" class="main">
          Sign in
        </button>
      </form>
      <ProblemBox problem={problem} />
      <h2>Where a token comes from</h2>
      <p>An admin of your team makes one:</p>
      <Command>sandbar token create --team TEAM --role view --name console</Command>
      {ways.oidc && (
        <>
          <p>
            People sign in at {visible(ways.oidc.issuer)} with the command line. The ID token or access token that the provider gives you works here,
            too.
          </p>
          <Command>sandbar login --oidc</Command>
        </>
      )}
    </section>
  );
}
