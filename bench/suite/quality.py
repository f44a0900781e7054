"""The plan of all that is about quality: head plans trained and judged, RULER-S, the built-in model."""

from dataclasses import dataclass

from steps import ROOT, Step, flags

TRAINED_ON = ("mansfieldpark", "northangerabbey", "prideprejudice", "sensesensibility")
JUDGED_ON = ("emma", "persuasion")
POLICIES = ("dense", "hybrid", "layer-shared", "streaming", "duo", "page-bound")
RANDOM = (1, 2, 3, 4, 5)
SETS = {"sink": 16, "recent": 64}
# Contexts of KL, needles, and contexts with ten phrases each.
SAMPLES = {"perplexity": 32, "needle": 200, "phrase": 20}


@dataclass(frozen=True)
class Model:
    """A real model and what its plans are judged by."""

    name: str
    path: str
    plan: str  # that ships
    recipes: dict  # flags of train-heads by the number of retrieval heads and the loss
    lengths: dict  # budgets by length
    ruler: dict  # budgets and samples by length


COMMON = {"data": "passkey:0.3,needle:0.2,text:0.5", "context_reuse": 3, "text_rows": 192,
          "phrases": 8, "phrase_words": 16, "chain": "inference", **SETS}
SMOLLM2 = {"context_min": 1024, "context_max": 4096, "budget": (128, 256, 512), "steps": 800,
           "lr": 0.015}
QWEN = {"context_min": 3072, "context_max": 8192, "budget": (256, 512, 1024), "steps": 400,
        "lr": 0.02}


def models(setup):
    return (
        Model("smollm2", setup.smollm2, str(ROOT / "plans" / "smollm2"), {(22, "kl"): SMOLLM2},
              {2048: (128, 256), 4096: (128, 256, 512, 1024)},
              {2048: ((256, 512), 50), 4096: ((256, 512, 1024), 25)}),
        Model("qwen0.5b", setup.qwen, str(ROOT / "plans" / "qwen2.5-coder-0.5b"),
              {(12, "kl"): QWEN, (6, "kl"): QWEN, (6, "hidden"): QWEN},
              {4096: (128, 256, 512), 8192: (256, 512, 1024)},
              {8192: ((256, 512, 1024, 2048), 25), 32768: ((1024, 2048, 4096), 10)}))


def text_paths(setup, names):
    return [str(setup.texts / f"{name}.txt") for name in names]


def text_flags(setup, names):
    return [word for path in text_paths(setup, names) for word in ("--text-file", path)]


def cache_tokens(setup, length, settings):
    """What an evaluation beside others may take for its cache; alone it takes what there is. The
    settings of a prompt share its pages, and page-bound takes a 16th more."""
    return 2 * length + 1024 * settings if setup.jobs > 1 else None


def plan_name(model, heads, loss):
    return f"quality-{model.name}-train-{heads}-{loss}"


def training(setup, model):
    for (heads, loss), recipe in model.recipes.items():
        command = setup.lychee("train-heads", json=True, model=model.path, retrieval_heads=heads,
                               loss=loss, **COMMON, **recipe)
        yield Step(plan_name(model, heads, loss), "quality",
                   command + text_flags(setup, TRAINED_ON), 120, folder=True)


def eval_step(setup, name, seconds, model, words, length, budgets, samples, heads, policies,
              **more):
    settings = len(policies) * len(budgets) * len(heads)
    values = {"lengths": length, "samples": samples, "policies": policies, "heads": heads,
              "budgets": budgets, "max_cache_tokens": cache_tokens(setup, length, settings)}
    command = setup.lychee("eval", *words, json=True, together=True, model=model, **values, **SETS)
    step = {"folder": True, "result": name.removeprefix("quality-")} | more
    return Step(name, "quality", command, seconds, **step)


def judging(setup, model):
    """Trained plans beside the uniform and the random ones of as many heads."""
    trained = [plan_name(model, *recipe) for recipe in model.recipes]
    counts = dict.fromkeys(count for count, _ in model.recipes)
    others = [f"{kind}:{count}{seed}" for count in counts
              for kind, seed in [("uniform", ""), *(("random", f":{n}") for n in RANDOM)]]
    heads = [*(str(setup.out / name) for name in trained), model.plan, *others]
    for length, budgets in model.lengths.items():
        for task, samples in SAMPLES.items():
            name = f"quality-{model.name}-{length}-{task}"
            step = eval_step(setup, name, 240, model.path, [task], length, budgets, samples, heads,
                             ("dense", "hybrid"), after=tuple(trained))
            step.command.extend(text_flags(setup, JUDGED_ON))
            if task == "perplexity":
                step.command.extend(["--decode-tokens", "129"])
            yield step


def gates(setup, model, heads, length, budget):
    """Gates × chains × losses."""
    name = f"quality-{model.name}-gates"
    command = ["python3", str(ROOT / "bench" / "train_tables.py"), "model", "--program",
               str(setup.program), "--device", setup.device, "--model", model.path,
               "--out", str(setup.out / name),
               "--train", *text_paths(setup, TRAINED_ON), "--test", *text_paths(setup, JUDGED_ON),
               "--losses", "kl", "hidden", "logits", "--tasks", "perplexity", "needle", "phrase",
               "--contexts", str(length // 2), str(length),
               *flags(retrieval_heads=heads, length=length, budget=budget, budgets=budget,
                      steps=400, lr=0.02, context_reuse=3, text_rows=192, phrases=8,
                      phrase_words=16, samples=100, phrase_samples=20, decode_tokens=129,
                      max_cache_tokens=cache_tokens(setup, length, 30), **SETS)]
    return Step(name, "quality", command, 1500, ext="md")


def followed(setup, model):
    """Plain text under every policy."""
    step = eval_step(setup, f"quality-{model.name}-follow", 120, model.path,
                     ["perplexity", "recall"], 4096, (256, 512, 1024, 2048), 16, [model.plan],
                     POLICIES)
    step.command.extend([*text_flags(setup, JUDGED_ON), "--decode-tokens", "129"])
    return step


def ruler(setup, model):
    for length, (budgets, samples) in model.ruler.items():
        yield eval_step(setup, f"quality-{model.name}-ruler-{length}", 480, model.path, ["ruler"],
                        length, budgets, samples, [model.plan], POLICIES)


def built_in(setup):
    """The harness must tell good from bad, to a million tokens."""
    for length, seconds in ((1024, 20), (8192, 20), (65536, 60), (1000000, 300)):
        samples = 10 if length <= 65536 else 4
        values = {"lengths": length, "samples": samples, "policies": ("dense", "hybrid", "streaming"),
                  "heads": ("builtin", "builtin:swapped"), "budgets": 512, "sink": 128,
                  "recent": 256, "max_cache_tokens": cache_tokens(setup, length, 6)}
        command = setup.lychee("eval", "passkey", json=True, model="builtin:needle", **values)
        yield Step(f"quality-needle-{length}", "quality", command, seconds, folder=True,
                   result="needle")


def quality(setup):
    smollm2, qwen = models(setup)
    for model in (smollm2, qwen):
        yield from training(setup, model)
    for model in (smollm2, qwen):
        yield from judging(setup, model)
    # 13 tasks of 50 samples: what this takes is itself a figure.
    policies = tuple(policy for policy in POLICIES if policy != "duo")
    yield eval_step(setup, "quality-smollm2-ruler-8192", 480, smollm2.path, ["ruler"], 8192,
                    (512, 1024), 50, [smollm2.plan], policies, alone=True)
    yield from ruler(setup, smollm2)
    yield from ruler(setup, qwen)
    yield from built_in(setup)
    for model in (smollm2, qwen):
        yield followed(setup, model)
    yield gates(setup, qwen, 12, 4096, 512)
    yield gates(setup, smollm2, 22, 2048, 256)
    needle = ["python3", str(ROOT / "bench" / "train_tables.py"), "needle", "--program",
              str(setup.program), "--device", setup.device, "--out",
              str(setup.out / "quality-needle-gates"), "--losses", "kl", "--seeds", "10"]
    yield Step("quality-needle-gates", "quality", needle, 600, ext="md")


SECTIONS = {"quality": quality}
