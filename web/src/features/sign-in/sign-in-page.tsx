// Signing in with the admin token. It becomes a session of this browser; the token itself is kept nowhere.
import { useQueryClient } from "@tanstack/react-query";
import { useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { ApiError, post } from "@/api/client";
import { Button } from "@/components/button";
import { TextField } from "@/components/field";
import { Mark } from "@/components/logo";

export function SignInPage() {
  const { next = "/" } = useSearch({ from: "/sign-in" });
  const router = useRouter();
  const client = useQueryClient();
  const [wrong, setWrong] = useState("");
  const [asking, setAsking] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token") ?? "");
    if (token === "") return setWrong("The token is empty.");
    setAsking(true);
    try {
      await post("/api/session", { body: { token } });
      client.clear();
      router.history.push(router.history.createHref(next));
    } catch (error) {
      setWrong(
        error instanceof ApiError && error.status === 429
          ? "Too many attempts. Wait a minute."
          : error instanceof Error
            ? error.message
            : String(error),
      );
    } finally {
      setAsking(false);
    }
  };
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 pb-[12vh]">
      <form onSubmit={submit} className="flex w-full max-w-[340px] flex-col gap-5">
        <div className="flex flex-col items-center gap-4">
          <Mark size={44} />
          <h1 className="text-lg font-semibold">Sign in to luner</h1>
        </div>
        <TextField
          label="Admin token"
          name="token"
          type="password"
          autoComplete="current-password"
          className="!h-10 font-mono"
          error={wrong || undefined}
          hint="server.admin.token in the configuration, often set by LUNER_ADMIN_TOKEN."
          onChange={() => setWrong("")}
        />
        <Button type="submit" kind="solid" className="!h-10" disabled={asking}>
          {asking ? "Signing in…" : "Sign in"}
        </Button>
      </form>
    </main>
  );
}
