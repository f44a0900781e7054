"""Cuts hand-made Chinese texts with the real jieba, as facts for tests/text.

    python3 tools/word_golden.py tests/data/words/jieba.jsonl

Needs jieba 0.42.1 (Debian's python3-jieba or PyPI's). Sentences are ours: names, words that no
dictionary has, numbers, Latin letters, rare and traditional characters, punctuation. They are taken
whole, cut, joined and mixed, and characters drawn at random are added.
"""

import json
import random
import sys

import jieba

SENTENCES = [
    "春天的河水慢慢涨了起来。", "老磨坊旁边站着一只苍鹭，等着鱼游过来。", "中学生在图书馆里研究生物的由来",
    "他从马上下来，马上就走了。", "武汉市长江隧道今天早上八点开始检修", "羽毛球拍卖得很快，球拍拍卖会明天才开始",
    "买票的和尚未买票的都站在站台上", "那片草地面上积了不少水", "邮电局长途汽车站对面的修理部每周收到36台洗衣机和电子秤等电器的维修单",
    "张晓梅和欧阳建国去了乌鲁木齐", "诸葛孔明与司马懿在五丈原对峙", "赵铁柱家的豆腐坊昨晚没开门",
    "我用Python3.11写了一个C++20程序，跑了1.5小时", "iPhone 15 Pro卖999.99美元，打8.5折后便宜15%", "请发邮件到someone@example.com或者打电话010-12345678",
    "GDP增长了5.3%，CPI同比上涨0.2%", "B超和T恤哪个贵？c#和AT&T呢？", "2023年10月1日国庆节放假7天", "第３段写的是什么", "ＡＢＣ全角字母１２３",
    "龘靐齉爩鱻麤䶮", "㐀㐁㐂扩展区的字𠀀𠮷野家", "這個標題是用繁體字寫的，臺灣的圖書館裡有很多書", "臺北捷運淡水信義線",
    "微信支付宝抖音快手拼多多", "蓝瘦香菇，我太难了，yyds绝绝子", "区块链元宇宙大模型稀疏注意力机制", "键值缓存的预填充与解码",
    "「引号」里的『话』——省略号……感叹号！", "空格 和\t制表符\r\n以及\n换行\u3000全角空格", "....,,,!!!???", "+#&._%-", "a.b.c 1.2.3 4.5% .5 6.%",
    "-3.5度到+12度之间", "x_1=y_2&z#3", "一二三四五六七八九十百千万亿", "三百六十五里路", "两个黄鹂鸣翠柳，一行白鹭上青天", "床前明月光疑是地上霜",
    "知之为知之不知为不知是知也", "的的的的的的", "了了了", "是是非非是非非是", "雪山上山雪白白雪", "人人人人人", "她讲的确有其事实在难得",
    "国内外文学书籍目录", "降低居民用电价格", "邻居推着独轮车走过桥头的时候，船夫朝他招了招手", "这里的夜晚很安静只有虫鸣", "渡船在黎明时分过河没有人付钱",
    "一九三一年那座桥关闭了整整一个冬天", "屋顶积了雪钟响了两次", "她弟弟的信每逢星期二送到", "每公斤十二块五，一袋四十元", "段落12和段落34说的是同一件事",
    "日本語のテキストも混ぜる：東京タワー", "한국어 문장도 섞는다", "Привет из Пекина北京", "emoji😀夹在👍中间", "Email地址：a-b_c.d%e+f", "会议纪要：第一，研究预算；第二，讨论人事。",
    "", " ", "　", "a", "好", "。", "\r\n", "\r", "\n\r\n\r", "3", "3.", ".3", "%",
]


def vary(rng, text):
    kind = rng.randrange(6)
    if kind == 0:
        begin = rng.randrange(len(text) + 1)
        return text[begin:begin + rng.randrange(12)]
    if kind == 1:
        return text + rng.choice(SENTENCES)
    if kind == 2:
        cut = rng.randrange(len(text) + 1)
        return text[:cut] + rng.choice(["的", "A1", "3.5%", " ", "，", "\r\n", "龘", "-", "2024年"]) + text[cut:]
    if kind == 3:
        characters = list(text)
        rng.shuffle(characters)
        return "".join(characters)
    if kind == 4:
        return text[::-1]
    return "".join(c for c in text if c.isalnum())


def texts(rng):
    yield from SENTENCES
    for _ in range(300):
        yield vary(rng, vary(rng, rng.choice(SENTENCES)))
    letters = "".join(SENTENCES)
    for _ in range(80):
        yield "".join(rng.choice(letters) for _ in range(rng.randrange(2, 25)))
    for _ in range(40):
        yield "".join(chr(rng.randrange(0x4DF0, 0x9FF0)) for _ in range(rng.randrange(2, 12)))


def main():
    jieba.setLogLevel(60)
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for text in texts(random.Random(1)):
            words = list(jieba.cut(text, cut_all=False))
            assert "".join(words) == text
            out.write(json.dumps(words, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
