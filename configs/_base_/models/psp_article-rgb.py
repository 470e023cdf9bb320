# The article as it stands: the network paints the label colours and is trained by regression to
# them. 713,839 parameters with the moving statistics.
_base_ = './psp_article.py'

# Each photo is scaled to 0..1 by its own extremes.
data_preprocessor = dict(
    _delete_=True,
    type='MinMaxDataPreProcessor',
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(
        type='ColorPSPHead',
        palette='cityscapes',
        loss_decode=dict(_delete_=True, type='ColorLoss', criterion='mse'),
    ),
)
