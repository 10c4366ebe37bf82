// Copies a text and says so.
import { useState } from "react";
import { Button, IconButton } from "./button";
import { toast } from "./toast";

/** How long the tick stays. Arbitrary. */
const TICK_MS = 1_500;

export function CopyButton({
  text,
  label,
  words = false,
}: {
  text: string | (() => string);
  label: string;
  words?: boolean;
}) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "string" ? text : text());
      setDone(true);
      setTimeout(() => setDone(false), TICK_MS);
    } catch {
      // Over plain http the clipboard is closed to pages.
      toast("The browser does not let this page copy. Open it by https or on localhost.", { tone: "bad" });
    }
  };
  const icon = done ? "check" : "copy";
  return words ? (
    <Button icon={icon} onClick={copy}>
      {label}
    </Button>
  ) : (
    <IconButton icon={icon} label={label} className="size-6" onClick={copy} />
  );
}
