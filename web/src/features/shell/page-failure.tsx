// Shown when a page fails to render, or does not exist.
import { Link } from "@tanstack/react-router";
import { buttonClass } from "@/components/button";
import { Empty, Failure } from "@/components/states";

export function PageFailure({ error, reset }: { error: unknown; reset?: () => void }) {
  return <Failure title="Something went wrong on this page" error={error} retry={reset} />;
}

export function NotFound() {
  return (
    <Empty
      title="Page not found"
      action={
        <Link to="/" className={buttonClass("solid")}>
          Go to the dashboard
        </Link>
      }
    >
      The address may be mistyped, or the page no longer exists.
    </Empty>
  );
}
