"""RetinaNet.

Forks of before 2019-03 have their own as the file rpn/retinanet.py, which this folder would hide: what it defines is found here.
"""

from maskrcnn_benchmark.utils.hidden_files import names_of_hidden_file

globals().update(names_of_hidden_file(__name__, __file__))
