import { CompletionContext } from "@codemirror/autocomplete";
import { EditorState } from "@codemirror/state";
import { expect, it } from "vitest";
import { complete, type PolicyLanguage } from "./cel-language";

const LANGUAGE: PolicyLanguage = {
  variables: [
    { name: "model", type: "string", description: "the model" },
    { name: "now", type: "timestamp", description: "the time" },
  ],
  methods: [
    { name: "startsWith", on: "string", argument: "string", description: "starts with this text" },
    { name: "getHours", on: "timestamp", argument: null, description: "hour of the day" },
  ],
};

const completions = (text: string) =>
  complete(new CompletionContext(EditorState.create({ doc: text }), text.length, true), LANGUAGE)?.options.map(
    (option) => option.label,
  );

it("variables complete anywhere, methods after a variable of their type", () => {
  expect(completions("model == 'x' && n")).toEqual(["model", "now"]);
  expect(completions("model.")).toEqual(["startsWith"]);
  expect(completions("now.get")).toEqual(["getHours"]);
  expect(completions("unknown.")).toEqual([]);
});
