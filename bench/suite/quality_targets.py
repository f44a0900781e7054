"""The targets of quality: head plans against dense decoding and against plans of as many heads."""

from quality import RANDOM, models, plan_name
from steps import Setup
from targets import Target, field, largest, least

LEAST_DENSE = 0.3  # tasks that dense decoding cannot do say nothing of a policy
ONE_POINT = -1.0
METRICS = {"perplexity": "kl", "needle": "score", "phrase": "words"}


def last_part(value):
    return str(value or "").rstrip("/").split("/")[-1]


def value_of(results, step, metric, plan, budget):
    """Of the hybrid row of a plan, or of dense where it is "dense"."""
    for row in results.rows(step):
        found = last_part(row.get("heads")) or row["policy"]
        if found == plan and (plan == "dense" or row["budget"] == budget):
            return row.get(metric)
    return None


def rivals(count):
    return [f"uniform:{count}", *(f"random:{count}:{seed}" for seed in RANDOM)]


def ahead(step, task, plans, count, budget):
    """By how much the best of `plans` is ahead of the best of its rivals: points, or the share of
    KL that is saved, in percent. Positive is better."""
    metric = METRICS[task]

    def figure(results):
        ours, theirs = ([value_of(results, step, metric, plan, budget) for plan in group]
                        for group in (plans, rivals(count)))
        if None in ours or None in theirs:
            return None
        if metric == "kl":
            return 100 * (1 - min(ours) / min(theirs))
        return 100 * (max(ours) - max(theirs))

    return figure


def over_dense(step, task, plan, budget):
    """Points that a plan is above dense decoding."""
    metric = METRICS[task]

    def figure(results):
        ours = value_of(results, step, metric, plan, budget)
        dense = value_of(results, step, metric, "dense", budget)
        return None if None in (ours, dense) else 100 * (ours - dense)

    return figure


def plan_value(step, metric, plan, budget, scale=1.0):
    def figure(results):
        value = value_of(results, step, metric, plan, budget)
        return None if value is None else value * scale

    return figure


def both_tasks(model, length, budget, plans):
    """The worse of needle and phrase, for the plan that has most of it."""
    def figure(results):
        scores = [[value_of(results, f"quality-{model.name}-{length}-{task}", METRICS[task], plan,
                            budget) for task in ("needle", "phrase")] for plan in plans]
        scores = [min(pair) for pair in scores if None not in pair]
        return 100 * max(scores) if scores else None

    return figure


def ruler_difference(step, policy, budget):
    """Mean points over dense decoding, of the tasks that dense decoding can do."""
    def figure(results):
        dense = {row["task"] for row in results.rows(step, policy="dense")
                 if (row["score"] or 0) >= LEAST_DENSE}
        found = [row["difference"] for row in results.rows(step, policy=policy, budget=budget)
                 if row["task"] in dense]
        return 100 * sum(found) / len(found) if found else None

    return figure


def judged(model):
    plans = {}
    for count, loss in model.recipes:
        plans.setdefault(count, []).append(plan_name(model, count, loss))
    for length, budgets in model.lengths.items():
        for count, names in plans.items():
            for task in METRICS:
                what, unit = ("KL saved", "%") if task == "perplexity" else (task, "pt")
                step = f"quality-{model.name}-{length}-{task}"
                yield Target("quality", f"{model.name} {length}, {count} heads: {what}, worst budget",
                             least([ahead(step, task, names, count, budget)
                                    for budget in budgets]), 0, unit, at_least=True)


def near_dense(model, length, budget, plan, greatest_kl):
    place = f"{model.name} {length}/{budget}, {last_part(plan).removeprefix('quality-')}"
    for task in ("needle", "phrase"):
        yield Target("quality", f"{place}: {task} over dense",
                     over_dense(f"quality-{model.name}-{length}-{task}", task, plan, budget),
                     ONE_POINT, "pt", at_least=True)
    if greatest_kl:
        yield Target("quality", f"{place}: KL", plan_value(
            f"quality-{model.name}-{length}-perplexity", "kl", plan, budget), greatest_kl)


def quality():
    smollm2, qwen = models(Setup(None, None))
    yield from judged(smollm2)
    yield from judged(qwen)
    smollm2_plan, qwen_plan = plan_name(smollm2, 22, "kl"), plan_name(qwen, 12, "kl")
    yield from near_dense(smollm2, 2048, 256, smollm2_plan, None)
    yield from near_dense(smollm2, 4096, 1024, smollm2_plan, 0.011)
    yield from near_dense(qwen, 8192, 256, qwen_plan, 0.07)
    yield Target("quality", "qwen0.5b 8192/256, 6 heads: worse of needle and phrase", both_tasks(
        qwen, 8192, 256, [plan_name(qwen, 6, loss) for loss in ("kl", "hidden")]), 95, "%",
        at_least=True)
    for model, count, loss in ((smollm2, 22, "kl"), (qwen, 12, "kl")):
        name = plan_name(model, count, loss)
        yield Target("quality", f"{model.name}: gates undecided after training",
                     lambda results, name=name: results.content(name).get("undecided"), 0.05)
    for model, length, budget in ((smollm2, 2048, 256), (smollm2, 4096, 512),
                                  (smollm2, 8192, 1024), (qwen, 8192, 1024),
                                  (qwen, 32768, 4096)):
        step = f"quality-{model.name}-ruler-{length}"
        yield Target("quality", f"{model.name} RULER-S {length}/{budget}: hybrid over dense",
                     ruler_difference(step, "hybrid", budget), ONE_POINT, "pt", at_least=True)
    cost = "quality-smollm2-ruler-8192"
    yield Target("quality", "RULER-S, 13 tasks of 50 samples at 8K",
                 lambda results: results.seconds(cost), 480, "s")
    yield Target("quality", "… over prefill and decode", lambda results: results.content(cost).get(
        "totals", {}).get("overhead"), 1.2, "×")
    for length in (1024, 8192, 65536, 1000000):
        step = f"quality-needle-{length}"
        for policy in ("dense", "hybrid"):
            yield Target("quality", f"built-in model, passkey at {length}: {policy}", field(
                step, "score", 100, policy=policy,
                heads=lambda heads: heads in (None, "builtin")), 100, "%", at_least=True)
        if length > 1024:  # at 1,024 tokens some keys lie in its window
            yield Target("quality", f"built-in model, passkey at {length}: streaming",
                         lambda results, step=step: scaled(largest(step, "score",
                                                                   policy="streaming")(results)),
                         10, "%")


def scaled(share):
    return None if share is None else 100 * share


SECTIONS = {"quality": quality}
