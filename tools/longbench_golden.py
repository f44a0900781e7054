"""Scores hand-made cases with LongBench's own metrics, as facts for tests/eval.

    python3 tools/longbench_golden.py FOLDER tests/data/eval/longbench_metrics.jsonl

FOLDER holds LongBench's metrics.py (github.com/THUDM/LongBench); it needs PyPI's rouge 1.0.1,
fuzzywuzzy 0.18.0 and jieba 0.42.1. Cases are made from short texts: whole, cut, shuffled, with
other case, punctuation, numbers and lines around them.
"""

import itertools
import json
import random
import sys
import warnings

SENTENCES = [
    "The heron waits by the old mill.", "A ferry crosses at dawn; nobody pays.",
    "In 1931 the bridge was closed for an entire winter.", "Snow lay on the roofs, and the bells rang twice.",
    "Her brother's letters came on Tuesdays.", "It costs 12.50 per kilo, or $40 for a sack.",
    "Émile plays the cello — badly, he says.", "the the a an the", "No.", "", " ", "...",
    "Der Zug nach Köln fährt um 7 Uhr 15.", "THE END", "state-of-the-art pumps (three of them)",
    "Yes, the second one!", "He said: \u201cthe river is high\u201d.", "An apple, an orange and a pear",
]
CODE = [
    "return self.items[index]", "for i in range(10):", "    total += price * count  # sum up",
    "int main() { return 0; }", "// a remark", "x = y", "", "if (a && b) { c(); }", "```python",
    "def area(width, height): return width * height", "self.assertEqual(first, second)",
    "abcdefghij" * 25, "abcdefghij" * 24 + "klmnop" * 8, "std::vector<int> values(10, 0);",
]
CLASSES = ["Food", "Food and drink", "Drink", "Sport", "Team sport", "City", "Other city", "State", "and"]
NUMBERS = ["Paragraph 3", "3", "Paragraph 12", "It is paragraph 3 or 4.", "33", "3, 3 and 3",
           "none", "Paragraph 3\nParagraph 4", "１２ and 12", "0", "07", "7"]
ZH = ["段落3", "段落12", "是段落3和段落4", "三", "第3段"]

CHINESE = [
    "苍鹭站在老磨坊旁边等鱼。", "渡船黎明过河，没有人付钱；船夫也不问。", "一九三一年那座桥关闭了整整一个冬天。", "屋顶积了雪，钟响了两次",
    "她弟弟的信每逢星期二送到……", "每公斤12.50元，一袋四十元（合计52.5元）", "《春江》和〈秋水〉都是她写的", "李二狗说：“河水很高！”", "好", "", " ", "。。。",
    "开往Cologne的火车7点15分出发", "The ferry 渡船 THE END", "第一，研究预算；第二，讨论人事、采购与考勤。", "的的的的", "ＡＢＣ公司２０２３年利润增长5.3%.",
    "「一个苹果」、『一个橙子』和【一个梨】", "键值缓存\n预填充\t解码\r\n稀疏注意力", "a.b.c是第3.5版。见附录B.",
]


def vary_chinese(rng, text):
    kind = rng.randrange(6)
    if kind == 0:
        begin = rng.randrange(len(text) + 1)
        return text[begin:begin + rng.randrange(16)]
    if kind == 1:
        parts = text.split("，")
        rng.shuffle(parts)
        return "，".join(parts)
    if kind == 2:
        cut = rng.randrange(len(text) + 1)
        return text[:cut] + rng.choice(["，", "的", "！", " ", ".", "2"]) + text[cut:]
    if kind == 3:
        return text.swapcase() + "\n" + rng.choice(CHINESE)
    if kind == 4:
        return rng.choice(CHINESE) + text
    return text


def vary(rng, text):
    words = text.split()
    kind = rng.randrange(6)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return " ".join(words[: len(words) // 2])
    if kind == 2:
        rng.shuffle(words)
        return " ".join(words)
    if kind == 3:
        return text + " " + rng.choice(SENTENCES)
    if kind == 4:
        return "\n" + text.replace(" ", "  ") + "\n\n"
    return rng.choice(SENTENCES) + " " + text


def cases(metrics):
    rng = random.Random(1)
    for name, function in (("qa_f1", metrics.qa_f1_score), ("rouge_l", metrics.rouge_score)):
        for _ in range(220):
            reference = rng.choice(SENTENCES)
            if rng.random() < 0.4:
                reference += " " + rng.choice(SENTENCES)
            text = vary(rng, vary(rng, reference)) if rng.random() < 0.8 else rng.choice(SENTENCES)
            yield name, text, reference, [], function(text, reference)
    for _ in range(220):
        names = rng.sample(CLASSES, rng.randrange(2, len(CLASSES)))
        reference = rng.choice(names)
        text = " ".join(rng.sample(CLASSES, rng.randrange(0, 4))) + rng.choice(["", ".", " Food", reference])
        yield "classification", text, reference, names, metrics.classification_score(
            text, reference, all_classes=names)
    for _ in range(210):
        text = " ".join(rng.sample(NUMBERS, rng.randrange(1, 4)))
        reference = rng.choice(["Paragraph 3", "Paragraph 12", "Paragraph 7 or so", "see Paragraph 33"])
        yield "retrieval", text, reference, [], metrics.retrieval_score(text, reference)
        text = " ".join(rng.sample(ZH + NUMBERS, rng.randrange(1, 4)))
        reference = rng.choice(["段落3", "段落12"])
        yield "retrieval_zh", text, reference, [], metrics.retrieval_zh_score(text, reference)
        text = " ".join(rng.sample(NUMBERS, rng.randrange(1, 4)))
        reference = rng.choice(["3", "12", "33", "7", "0"])
        yield "count", text, reference, [], metrics.count_score(text, reference)
        reference = rng.choice(CODE)
        text = "\n" * rng.randrange(2) + "\n".join(rng.sample(CODE, rng.randrange(1, 4)))
        if rng.random() < 0.4:
            cut = rng.randrange(len(reference) + 1)
            text = reference[:cut] + rng.choice(["", "  ", "_x"]) + reference[cut + 1:]
        yield "code_similarity", text, reference, [], metrics.code_sim_score(text, reference)


def chinese_cases(metrics):
    rng = random.Random(2)
    for name, function in (("qa_f1_zh", metrics.qa_f1_zh_score), ("rouge_l_zh", metrics.rouge_zh_score)):
        for _ in range(230):
            reference = rng.choice(CHINESE)
            if rng.random() < 0.5:
                reference += rng.choice(CHINESE)
            text = vary_chinese(rng, vary_chinese(rng, reference)) if rng.random() < 0.8 else rng.choice(CHINESE)
            yield name, text, reference, [], function(text, reference)


def main():
    warnings.simplefilter("ignore")
    sys.path.insert(0, sys.argv[1])
    import metrics
    metrics.jieba.setLogLevel(60)
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for name, text, reference, classes, score in itertools.chain(cases(metrics), chinese_cases(metrics)):
            line = {"metric": name, "text": text, "reference": reference, "score": score}
            if classes:
                line["classes"] = classes
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
