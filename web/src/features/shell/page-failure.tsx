// What a page shows when it broke, or when there is none at the address.
import { Link } from "@tanstack/react-router";
import { buttonClass } from "@/components/button";
import { Empty, Failure } from "@/components/states";

export function PageFailure({ error, reset }: { error: unknown; reset?: () => void }) {
  return <Failure title="This page broke" error={error} retry={reset} />;
}

export function NotFound() {
  return (
    <Empty
      title="There is nothing here"
      action={
        <Link to="/" className={buttonClass("solid")}>
          To the dashboard
        </Link>
      }
    >
      The address may have been mistyped, or what was here is gone.
    </Empty>
  );
}
