"""The experiments of Levi and Ullman (BMVC 2019): generated scenes, the paper's tables, and what was measured of them."""
