// Sign-in with the admin token. The gateway answers with a session cookie; the console stores no token.
import { useQueryClient } from "@tanstack/react-query";
import { useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { ApiError, post } from "@/api/client";
import { Button } from "@/components/button";
import { TextField } from "@/components/field";
import { Logo } from "@/components/logo";

export function SignInPage() {
  const { next = "/" } = useSearch({ from: "/sign-in" });
  const router = useRouter();
  const client = useQueryClient();
  const [error, setError] = useState("");
  const [isPending, setIsPending] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token") ?? "");
    if (token === "") return setError("Enter the token.");
    setIsPending(true);
    try {
      await post("/api/session", { body: { token } });
      client.clear();
      router.history.push(router.history.createHref(next));
    } catch (failure) {
      setError(
        failure instanceof ApiError && failure.status === 429
          ? "Too many attempts. Wait a minute."
          : failure instanceof Error
            ? failure.message
            : String(failure),
      );
    } finally {
      setIsPending(false);
    }
  };
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 pb-[12vh]">
      <form onSubmit={submit} className="flex w-full max-w-[340px] flex-col gap-5">
        <div className="flex flex-col items-center gap-4">
          <Logo size={44} />
          <h1 className="text-lg font-semibold">Sign in to luner</h1>
        </div>
        <TextField
          label="Admin token"
          name="token"
          type="password"
          autoComplete="current-password"
          className="!h-10 font-mono"
          error={error || undefined}
          hint="The value of server.admin.token, often set with LUNER_ADMIN_TOKEN."
          onChange={() => setError("")}
        />
        <Button type="submit" kind="solid" className="!h-10" disabled={isPending}>
          {isPending ? "Signing in…" : "Sign in"}
        </Button>
      </form>
    </main>
  );
}
