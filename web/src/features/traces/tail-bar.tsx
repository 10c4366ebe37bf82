// The state of the live tail: connected, paused, how many requests wait, and how many are missing.
import { Button } from "@/components/button";
import { count, plural } from "@/lib/format";
import type { Tail } from "./use-tail";

export function TailBar({
  tail,
  paused,
  onPause,
}: {
  tail: Tail;
  paused: boolean;
  onPause: (paused: boolean) => void;
}) {
  const [dot, label] = !tail.connected
    ? ["bg-warn", "Connecting"]
    : paused
      ? ["bg-faint", "Paused"]
      : ["bg-good animate-breathe", "Live"];
  return (
    <div className="sticky top-14 z-10 flex h-11 items-center gap-3 border-y border-line bg-ground px-4 sm:px-6 md:static">
      <span role="status" className="inline-flex items-center gap-2">
        <span aria-hidden="true" className={`size-2 rounded-full ${dot}`} />
        {label}
      </span>
      <Button kind="ghost" icon={paused ? "play" : "pause"} onClick={() => onPause(!paused)}>
        {paused ? "Resume" : "Pause"}
      </Button>
      {paused && tail.waiting > 0 && (
        <Button kind="solid" onClick={() => onPause(false)}>
          {`${count(tail.waiting)} new`}
        </Button>
      )}
      {tail.dropped === 0 && tail.gap && (
        <span
          className="ml-auto text-warn"
          title="More requests ended during a reconnect than the gateway can replay. The list has them all."
        >
          Some requests not shown
        </span>
      )}
      {tail.dropped > 0 && (
        <span
          className="ml-auto text-warn"
          title="Requests ended faster than this page could read them. The list has them all."
        >
          {`${plural(tail.dropped, "request")} not shown`}
        </span>
      )}
    </div>
  );
}
