// Replaces react-remove-scroll in Radix dialogs. The original adds a <style> element, which the content security policy
// forbids; this one sets a class on the page.
import { Slot } from "radix-ui";
import { type ComponentProps, useEffect } from "react";

let open = 0;

type Props = ComponentProps<"div"> & { as?: unknown; allowPinchZoom?: boolean; shards?: unknown; enabled?: boolean };

export function RemoveScroll({ as: _as, allowPinchZoom: _zoom, shards: _shards, enabled = true, ...rest }: Props) {
  useEffect(() => {
    if (!enabled) return;
    open += 1;
    document.documentElement.classList.add("scroll-locked");
    return () => {
      open -= 1;
      if (open === 0) document.documentElement.classList.remove("scroll-locked");
    };
  }, [enabled]);
  return <Slot.Root {...rest} />;
}

export default RemoveScroll;
