#include "text/lower_case.h"

#include <gtest/gtest.h>

namespace lychee::text {
namespace {

// What Python's str.lower() gives.
TEST(LowerCase, MapsWholeTexts) {
  EXPECT_EQ(to_lower_case(U"Straße ÀÉÎ ЁЖ Ⅷ Ⓐ 𐐀"), U"straße àéî ёж ⅷ ⓐ 𐐨");
  EXPECT_EQ(to_lower_case(U"\u0130I"), U"i\u0307i");
  EXPECT_EQ(to_lower_case(U"\u212b\u1e9e\u01c5"), U"\u00e5\u00df\u01c6");
  EXPECT_EQ(to_lower_case(U""), U"");
}

TEST(LowerCase, KnowsWhereASigmaEndsAWord) {
  EXPECT_EQ(to_lower_case(U"ΟΔΟΣ"), U"οδος");
  EXPECT_EQ(to_lower_case(U"ΟΔΟΣ ΣΑΣ."), U"οδος σας.");
  EXPECT_EQ(to_lower_case(U"Σ 1Σ"), U"σ 1σ") << "no letter before it";
  EXPECT_EQ(to_lower_case(U"ΑΣ'Β ΑΣ' ΑΣ\u0301"), U"ασ'β ας' ας\u0301") << "marks are passed over";
}

}  // namespace
}  // namespace lychee::text
