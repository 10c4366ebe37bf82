// Asks before leaving a page with unsaved changes.
import { useBlocker } from "@tanstack/react-router";
import type { RefObject } from "react";
import { Button } from "@/components/button";
import { Dialog } from "@/components/dialog";

/** `saved` is a ref because leaving follows saving at once, before the page has rendered again. */
export function useLeaveGuard(dirty: boolean, saved: RefObject<boolean>) {
  return useBlocker({
    shouldBlockFn: ({ current, next }) => dirty && !saved.current && current.pathname !== next.pathname,
    enableBeforeUnload: dirty,
    withResolver: true,
  });
}

export function LeaveDialog({ guard }: { guard: ReturnType<typeof useLeaveGuard> }) {
  return (
    <Dialog
      open={guard.status === "blocked"}
      onOpenChange={(open) => !open && guard.reset?.()}
      title="Leave without saving?"
      className="max-w-sm"
    >
      <div className="flex flex-col gap-4 p-4">
        <p className="text-soft">Your changes are not saved.</p>
        <div className="flex justify-end gap-2">
          <Button onClick={() => guard.reset?.()}>Stay</Button>
          <Button kind="danger" onClick={() => guard.proceed?.()}>
            Leave
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
