// A button that copies text and shows a tick when it has.
import { useState } from "react";
import { Button, IconButton } from "./button";
import { toast } from "./toast";

/** How long the tick is shown. Arbitrary. */
const TICK_MS = 1_500;

export function CopyButton({
  text,
  label,
  showLabel = false,
}: {
  text: string | (() => string);
  label: string;
  showLabel?: boolean;
}) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "string" ? text : text());
      setCopied(true);
      setTimeout(() => setCopied(false), TICK_MS);
    } catch {
      // Browsers deny pages the clipboard over plain HTTP.
      toast("The browser does not allow copying here. Open the console over HTTPS or on localhost.", { tone: "bad" });
    }
  };
  const icon = copied ? "check" : "copy";
  return showLabel ? (
    <Button icon={icon} onClick={copy}>
      {label}
    </Button>
  ) : (
    <IconButton icon={icon} label={label} className="size-6" onClick={copy} />
  );
}
