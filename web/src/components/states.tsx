// Placeholders for data that is loading, empty or failed to load. Each says what to do.
import type { ReactNode } from "react";
import { ApiError } from "@/api/client";
import { Button } from "./button";
import { Icon, type IconName } from "./icon";

export function Empty({
  icon = "moon",
  title,
  children,
  action,
}: {
  icon?: IconName;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="flex min-h-40 flex-col items-center justify-center gap-2 px-6 py-10 text-center">
      <Icon name={icon} size={22} className="text-faint" />
      <p className="text-md font-medium text-ink">{title}</p>
      {children && <div className="max-w-[52ch] text-soft">{children}</div>}
      {action && <div className="mt-2 flex flex-wrap justify-center gap-2">{action}</div>}
    </div>
  );
}

const ADVICE: Record<string, string> = {
  storage_off: "Set storage.backend to sqlite in the configuration. No restart is needed.",
  storage_degraded: "Check luner's log, and the disk's free space and permissions. Requests are still being served.",
  unreachable: "This page retries automatically.",
};

export function Failure({
  error,
  retry,
  title = "Could not load this",
}: {
  error: unknown;
  retry?: () => void;
  title?: string;
}) {
  const message = error instanceof Error ? error.message : String(error);
  const advice = error instanceof ApiError && error.code ? ADVICE[error.code] : undefined;
  return (
    <div role="alert" className="flex min-h-32 flex-col items-center justify-center gap-2 px-6 py-8 text-center">
      <Icon name="alert" size={20} className="text-bad" />
      <p className="font-medium text-ink">{title}</p>
      <p className="max-w-[60ch] break-words text-soft">{message}</p>
      {advice && <p className="max-w-[60ch] text-faint">{advice}</p>}
      {retry && (
        <Button className="mt-2" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** A grey block in place of content that is loading. */
export function Skeleton({ className = "" }: { className?: string }) {
  return (
    <span aria-hidden="true" data-skeleton="" className={`block animate-breathe rounded-sm bg-hover ${className}`} />
  );
}

export function Loading({ rows = 8, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <div role="status" aria-label={label} className="flex flex-col gap-3 px-4 py-4">
      {Array.from({ length: rows }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: skeleton lines have no identity
        <Skeleton key={index} className={`h-4 ${["w-full", "w-11/12", "w-4/5"][index % 3]}`} />
      ))}
    </div>
  );
}

/** A permanent message in the page: what is wrong, and what to do about it. */
export function Notice({
  tone = "warn",
  title,
  children,
}: {
  tone?: "warn" | "bad" | "plain";
  title: string;
  children?: ReactNode;
}) {
  const look = { warn: "bg-warn-wash text-warn", bad: "bg-bad-wash text-bad", plain: "bg-hover text-soft" }[tone];
  return (
    <div role="note" className={`flex gap-2.5 rounded-md px-3 py-2.5 ${look}`}>
      <Icon name={tone === "plain" ? "eye" : "alert"} size={15} className="mt-0.5" />
      <div className="min-w-0">
        <p className="font-medium">{title}</p>
        {children && <div className="mt-0.5 text-soft">{children}</div>}
      </div>
    </div>
  );
}
