# METADATA
# title: The verdict
# description: >-
#   The one entrypoint: what every rule below `tprov.rules` finds in a plan (`terraform show
#   -json`), and the level of each rule. A rule is a package with two members: `about :=
#   rego.metadata.chain()`, which repeats the annotations above its `package`, and `findings`, a
#   set of `{"address": ..., "message": ...}` (`plan.about` makes one). Nothing a rule finds gets
#   lost here: where annotations are missing the finding is kept with an empty level, and whoever
#   asked has to refuse such a verdict.
package tprov

import data.tprov.undecidable

# METADATA
# description: What is decided on. `levels` also says which rules were asked.
# entrypoint: true
verdict := {"findings": (findings | doubts), "levels": levels}

findings contains finding if {
	some found in data.tprov.rules[rule].findings
	finding := complete(found, rule, annotations(rule), level(rule))
}

# Whatever the settings say: nobody may override that a plan cannot be judged.
doubts := {complete(found, "undecidable", undecidable.about[0].annotations, "hard-mandatory") |
	some found in undecidable.findings
}

levels[rule] := level(rule) if data.tprov.rules[rule].findings

# What is no object becomes one without a message, which whoever asked refuses by the rule's name.
complete(found, rule, annotated, level) := object.union({key: value | some key, value in found}, {
	"rule": rule,
	"level": level,
	"title": object.get(annotated, "title", rule),
	"remedy": object.get(annotated, ["custom", "remedy"], ""),
})

# The settings raise or lower a level; without a word there, the rule's own annotation counts.
level(rule) := object.get(undecidable.settings, ["levels", rule], own_level(rule))

own_level(rule) := object.get(annotations(rule), ["custom", "level"], "")

# A rule's annotations, or nothing at all: never undefined, so that no finding depends on them.
annotations(rule) := object.union_n([step.annotations |
	some step in data.tprov.rules[rule].about
	step.annotations.scope == "package"
])
