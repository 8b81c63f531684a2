/** Login: plain forms that work without script. */

import type { JSX } from "preact";
import { Fields } from "../dialog.tsx";
import { Brand } from "../brand.tsx";
import { Note } from "../parts.tsx";
import { place, prefix } from "../place.ts";
import { session } from "../store.ts";

/** The page. */
export function Login(): JSX.Element {
  const { logins, oidcName } = session.value;
  const { query } = place.value;
  const next = <input type="hidden" name="next" value={query.get("next") ?? ""} />;
  const post = { method: "post", action: `${prefix.value}/login` } as const;
  return (
    <main class="login">
      <h1 class="brand">
        <Brand />Lovage
      </h1>
      {query.has("error") && <Note kind="bad">{query.get("error") || "Login failed. Try again."}</Note>}
      {logins.includes("basic") && (
        <form {...post} class="form panel body">
          {next}
          <Fields
            fields={[
              { name: "user", label: "User", isRequired: true },
              { name: "password", label: "Password", type: "password", isRequired: true },
            ]}
          />
          <button type="submit" class="main">Log in</button>
        </form>
      )}
      {logins.includes("token") && (
        <form {...post} class="form panel body">
          {next}
          <Fields fields={[{ name: "token", label: "Token", type: "password", isRequired: true }]} />
          <button type="submit" class={logins.includes("basic") ? "" : "main"}>Log in with the token</button>
        </form>
      )}
      {logins.includes("oidc") && (
        <a
          class="button main"
          href={`${prefix.value}/login/oidc?next=${encodeURIComponent(query.get("next") ?? "")}`}
        >
          Log in with {oidcName ?? "single sign-on"}
        </a>
      )}
      {logins.length === 0 && (
        <p class="soft">
          This console needs no login. <a href={`${prefix.value}/`}>Open the console</a>
        </p>
      )}
    </main>
  );
}
